"""What mails say. Every link begins with the server's own public address, whatever a request said of its host."""

from collections.abc import Iterable, Sequence
from urllib.parse import quote

from ruma.business.mail import Mail
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
    return [Mail(one, subject, text, reply_to=email, from_name=business, occasion=occasion) for one in to]


def reply_notice(profile: Profile, *, tenant: str, to: str, author: str, text: str, language: str = "") -> Mail:
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
    return Mail(to, f"{inviter} invites you to {business}", text, from_name=business, occasion="an invitation")


def reset_notice(profile: Profile, *, origin: str, tenant: str, to: str, secret: str) -> Mail:
    """Return what lets a member choose a new password."""
    business = profile.business_name or tenant
    text = (
        f"Somebody asked for a new password for your account at {business}'s agent.\n\n"
        f"Choose one here; the link works once:\n{_address(origin, tenant, f'reset/{secret}')}\n\n"
        "If it was not you, do nothing: your password stays as it is.\n"
    )
    return Mail(to, f"A new password for {business}", text, from_name=business, occasion="a new password")


def trial_notice(profile: Profile, *, tenant: str, to: str) -> Mail:
    """Return a mail that only shows that mail arrives."""
    business = profile.business_name or tenant
    text = "This mail was sent to try whether mail arrives. It does.\n"
    return Mail(to, f"Mail from {business} arrives", text, occasion="a trial")


def _address(origin: str, tenant: str, place: str) -> str:
    return f"{origin}/t/{quote(tenant, safe='')}/{place}"


def _quoted(text: str) -> list[str]:
    return [f"> {line}" for line in text.split("\n")]
