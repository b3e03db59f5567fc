"""What mails say. Every link begins with the server's own public address, whatever a request said of its host."""

from collections.abc import Iterable, Sequence
from urllib.parse import quote

from ruma.business.mail import About, Mail
from ruma.tenant.conversing.requests import RightsRequest
from ruma.tenant.profile import Profile

_VISITOR_WORDS = {
    "en": ("Your answer from {business}", "{author} wrote to you:"),
    "de": ("Ihre Antwort von {business}", "{author} hat Ihnen geschrieben:"),
    "fr": ("Votre réponse de {business}", "{author} vous a écrit :"),
    "es": ("Su respuesta de {business}", "{author} le ha escrito:"),
    "pt": ("A sua resposta de {business}", "{author} escreveu-lhe:"),
    "it": ("La sua risposta da {business}", "{author} le ha scritto:"),
    "nl": ("Uw antwoord van {business}", "{author} heeft u geschreven:"),
}

_VISITOR_LINK_WORDS = {
    "en": (
        "Your data at {business}",
        "Somebody asked what {business} has stored with this e-mail address.",
        "See it, download it, correct it or delete it here. The link works once, for 30 minutes:",
        "If it was not you, you need not do anything.",
    ),
    "de": (
        "Ihre Daten bei {business}",
        "Jemand hat gefragt, was {business} mit dieser E-Mail-Adresse gespeichert hat.",
        "Hier sehen Sie es, laden es herunter, berichtigen oder löschen es. Der Link gilt einmal, 30 Minuten lang:",
        "Wenn Sie das nicht waren, brauchen Sie nichts zu tun.",
    ),
    "fr": (
        "Vos données chez {business}",
        "Quelqu’un a demandé ce que {business} conserve avec cette adresse e-mail.",
        "Vous pouvez ici les voir, télécharger, corriger ou supprimer. Le lien sert une fois, pendant 30 minutes :",
        "Si ce n’était pas vous, vous n’avez rien à faire.",
    ),
    "es": (
        "Sus datos en {business}",
        "Alguien ha preguntado qué guarda {business} con esta dirección de correo.",
        "Véalos, descárguelos, corríjalos o elimínelos aquí. El enlace sirve una vez, durante 30 minutos:",
        "Si no fue usted, no tiene que hacer nada.",
    ),
    "pt": (
        "Os seus dados em {business}",
        "Alguém perguntou o que {business} guarda com este endereço de e-mail.",
        "Veja-os, descarregue-os, corrija-os ou apague-os aqui. A ligação serve uma vez, durante 30 minutos:",
        "Se não foi você, não precisa de fazer nada.",
    ),
    "it": (
        "I suoi dati presso {business}",
        "Qualcuno ha chiesto che cosa {business} conserva con questo indirizzo e-mail.",
        "Qui può vederli, scaricarli, correggerli o eliminarli. Il link vale una volta, per 30 minuti:",
        "Se non è stato lei, non deve fare nulla.",
    ),
    "nl": (
        "Uw gegevens bij {business}",
        "Iemand heeft gevraagd wat {business} bij dit e-mailadres heeft opgeslagen.",
        "Bekijk, download, verbeter of verwijder het hier. De link werkt één keer, 30 minuten lang:",
        "Als u dat niet was, hoeft u niets te doen.",
    ),
}


def handover_notices(
    profile: Profile,
    owners: Iterable[str],
    *,
    origin: str,
    tenant: str,
    conversation_id: int,
    name: str,
    email: str,
    message: str,
) -> list[Mail]:
    """Return what tells the team that a visitor asks for a person.

    It goes to the profile's notification address, or to each owner. It holds what the visitor wrote to the team and
    nothing else of the conversation; an answer to it goes to the visitor.
    """
    business = profile.business_name or tenant
    lines = [f"{name or 'A visitor'} asks for a person.", "", *_quoted(message), ""]
    lines += [f"Mail: {email}" if email else "The visitor left no mail address."]
    lines += ["", "Read the conversation and answer:", _address(origin, tenant, f"conversations/{conversation_id}")]
    subject = f"{business}: {name or 'a visitor'} asks for a person"
    to = [profile.notify_email] if profile.notify_email else list(owners)
    text, occasion = "\n".join(lines) + "\n", "a visitor asks for a person"
    about: About = ("conversation", conversation_id)
    return [Mail(one, subject, text, reply_to=email, from_name=business, occasion=occasion, about=about) for one in to]


def reply_notice(
    profile: Profile, *, tenant: str, conversation_id: int, to: str, author: str, text: str, language: str = ""
) -> Mail:
    """Return what brings a person's reply to the visitor, in the visitor's language where there are words for it."""
    business = profile.business_name or tenant
    subject, says = _VISITOR_WORDS.get(language.partition("-")[0].lower(), _VISITOR_WORDS["en"])
    lines = [says.format(author=author), "", text, "", "-- ", business]
    lines += [line for line in (profile.website, profile.contact_email) if line]
    reply_to = profile.contact_email or profile.notify_email
    return Mail(
        to,
        subject.format(business=business),
        "\n".join(lines) + "\n",
        reply_to=reply_to,
        from_name=business,
        occasion="a reply to a visitor",
        about=("conversation", conversation_id),
    )


def request_notices(
    profile: Profile, owners: Iterable[str], *, origin: str, tenant: str, requests: Sequence[RightsRequest]
) -> list[Mail]:
    """Return what tells the owners that requests about data came: when they are due, nothing of what they say."""
    lines = [f"Somebody asks about their data ({one.kind}). It is due on {one.due_on}." for one in requests]
    return _about_requests(profile, owners, "a request about data", lines, origin=origin, tenant=tenant)


def due_notices(
    profile: Profile, owners: Iterable[str], *, origin: str, tenant: str, requests: Sequence[RightsRequest]
) -> list[Mail]:
    """Return what reminds the owners of requests that are due within days, or overdue."""
    lines = [f"The request {one.id} about data ({one.kind}) is due on {one.due_on}." for one in requests]
    subject = "a request about data is due soon" if len(lines) == 1 else "requests about data are due soon"
    return _about_requests(profile, owners, subject, lines, origin=origin, tenant=tenant)


def _about_requests(
    profile: Profile, owners: Iterable[str], subject: str, lines: list[str], *, origin: str, tenant: str
) -> list[Mail]:
    business = profile.business_name or tenant
    lines = [*lines, "", "Read what is asked, and write down what was done:", _address(origin, tenant, "data/requests")]
    to = [profile.notify_email] if profile.notify_email else list(owners)
    return [Mail(one, f"{business}: {subject}", "\n".join(lines) + "\n", from_name=business) for one in to]


def invitation_notice(profile: Profile, *, origin: str, tenant: str, to: str, inviter: str, secret: str) -> Mail:
    """Return what invites somebody to become a member."""
    business = profile.business_name or tenant
    text = (
        f"{inviter} invites you to {business}'s agent: to its documents, its conversations and its settings.\n\n"
        f"Choose a password here; the link works once:\n{_address(origin, tenant, f'invitation/{secret}')}\n\n"
        "If you do not know why you get this, you need not do anything.\n"
    )
    subject = f"{inviter} invites you to {business}"
    about: About = ("invitation", secret)
    return Mail(to, subject, text, from_name=business, occasion="an invitation", about=about)


def reset_notice(profile: Profile, *, origin: str, tenant: str, to: str, secret: str) -> Mail:
    """Return what lets a member choose a new password."""
    business = profile.business_name or tenant
    text = (
        f"Somebody asked for a new password for your account at {business}'s agent.\n\n"
        f"Choose one here; the link works once:\n{_address(origin, tenant, f'reset/{secret}')}\n\n"
        "If it was not you, do nothing: your password stays as it is.\n"
    )
    about: About = ("reset", secret)
    return Mail(to, f"A new password for {business}", text, from_name=business, occasion="a new password", about=about)


def factor_notice(profile: Profile, *, tenant: str, member_id: int, to: str, remover: str) -> Mail:
    """Return what tells a member that somebody else switched their second factor off."""
    business = profile.business_name or tenant
    text = (
        f"{remover} switched off the second factor of your account at {business}'s agent.\n\n"
        "You were signed out everywhere. From now on your password alone signs you in, until you switch a new second "
        "factor on: on the page of your account.\n\n"
        f"If you did not ask for this, talk to {remover}, and choose another password.\n"
    )
    subject = f"Your second factor at {business} was switched off"
    about: About = ("member", member_id)
    return Mail(to, subject, text, from_name=business, occasion="a second factor that is gone", about=about)


def visitor_link_notice(
    profile: Profile, *, origin: str, tenant: str, conversation_id: int, to: str, secret: str, language: str
) -> Mail:
    """Return what leads a visitor to everything that has the address, in a language that there are words for.

    The secret stands behind the #: a browser sends no server what is there, so no log has it.
    """
    business = profile.business_name or tenant
    subject, asked, once, ignore = _VISITOR_LINK_WORDS.get(language, _VISITOR_LINK_WORDS["en"])
    link = _address(origin, tenant, f"my-data#{secret}")
    text = f"{asked.format(business=business)}\n\n{once}\n{link}\n\n{ignore}\n"
    return Mail(
        to,
        subject.format(business=business),
        text,
        reply_to=profile.contact_email or profile.notify_email,
        from_name=business,
        occasion="a link to a visitor's own data",
        about=("conversation", conversation_id),
    )


def plan_notices(
    profile: Profile, owners: Iterable[str], *, origin: str, tenant: str, plan: str, days: int, is_paid: bool
) -> list[Mail]:
    """Return what tells the owners that their plan is another one, because of what they pay."""
    business = profile.business_name or tenant
    why = "It is paid for at Stripe, which has the receipt." if is_paid else "Nothing is paid for at Stripe any more."
    text = (
        f"Your plan is now {plan}. {why}\n\n"
        f"From now on conversations are kept for {days} days at most: what is older is removed within a day.\n\n"
        f"The plan, and the way to your bills:\n{_address(origin, tenant, 'settings')}\n"
    )
    subject = f"{business}: your plan is now {plan}"
    return [Mail(one, subject, text, from_name=business, occasion="another plan") for one in owners]


def trial_notice(profile: Profile, *, tenant: str, to: str) -> Mail:
    """Return a mail that only shows that mail arrives."""
    business = profile.business_name or tenant
    text = "This mail was sent to try whether mail arrives. It does.\n"
    return Mail(to, f"Mail from {business} arrives", text, occasion="a trial")


def _address(origin: str, tenant: str, place: str) -> str:
    return f"{origin}/t/{quote(tenant, safe='')}/{place}"


def _quoted(text: str) -> list[str]:
    return [f"> {line}" for line in text.split("\n")]
