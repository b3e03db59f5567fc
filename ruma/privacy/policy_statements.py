"""What the privacy policy says, sentence by sentence. Each has its check, or says why no program can check it.

The parts follow those that such policies have: what is collected, what for, where and how it is kept, who gets it,
what a browser holds, what rights people have and whom to write to.
"""

from ruma.privacy import policy_check as check
from ruma.privacy.consent import STORAGE
from ruma.privacy.policy_parts import Facts, Section, Statement
from ruma.tenant.connections import READS_SOURCE
from ruma.tenant.conversing.consents import LEFT_SECONDS, PASSING_SECONDS

_WORDS_ONLY = "It says what is done with data, not what data there is: read the code, or watch the ledger."


def write_sections(facts: Facts) -> tuple[Section, ...]:
    """Return every part of the policy."""
    return (
        Section("1. What is collected", _collected(facts)),
        Section("2. What it is used for", _used(facts)),
        Section("3. Where it is, and how it is protected", _stored(facts)),
        Section("4. How long it is kept", _kept(facts)),
        Section("5. Who receives it", _received(facts)),
        Section("6. Cookies, and what else a browser holds", _browser(facts)),
        Section("7. Your rights, and how to use them", _rights(facts)),
        Section("8. Whom to write to", _contact(facts)),
    )


def _collected(facts: Facts) -> tuple[Statement, ...]:
    keeping = (
        "It is kept only where you agree to that; else it goes soon after the chat is over."
        if facts.keeping == "agreed"
        else "It is kept unless you refuse that; then it goes soon after the chat is over."
    )
    return (
        Statement(
            "kinds",
            "This policy names every kind of data there is: visitors' conversations, members' accounts, the business's "
            "documents and settings, technical data, and records that prove what was done.",
            check.every_table_is_named,
        ),
        Statement(
            "visitors",
            f"Visitors of {facts.business}: what you write and what {facts.agent.name} or a person answers, whether an "
            "answer helped you, on which website you asked and in which language. Your name and your e-mail address "
            f"only if you give them. No network address and no browser is stored with a conversation. {keeping}",
            check.conversations_hold_no_address,
        ),
        Statement(
            "members",
            "Members of the business, who sign in: name, e-mail address, role, and a password, of which only an "
            "Argon2id hash is stored.",
            check.passwords_are_hashed,
        ),
        Statement(
            "technical",
            "Technical data: when a member signs in, the name of the browser and the network that the address belongs "
            "to, shortened (203.0.113.0/24), never the whole address.",
            check.stored_addresses_are_shortened,
        ),
        Statement(
            "log",
            "The server's log has a line for each request, with the shortened network and without what was asked.",
            check.log_is_shortened,
        ),
        Statement(
            "payments",
            _payments(facts),
            check.no_payment_data,
        ),
    )


def _payments(facts: Facts) -> str:
    if not facts.settings.takes_payments and not facts.is_customer:
        return "Payments: none are taken here, and no payment data is stored."
    return (
        f"Payments: {facts.business} pays for its plan on pages of Stripe. No card, no bank account and no bill is "
        "stored here: only the plan, and the customer number that Stripe gives the business. Visitors pay nothing here."
    )


def _used(facts: Facts) -> tuple[Statement, ...]:
    return (
        Statement(
            "use",
            f"To answer visitors from the documents of {facts.business}, to hand questions over to a person, to show "
            "the business what was asked and what was not answered, and to keep the server safe.",
            unchecked=_WORDS_ONLY,
        ),
        Statement(
            "training",
            "No model is trained with any of it, here or elsewhere. Models run on this server and forget a "
            "conversation when it is answered.",
            unchecked="That nothing reaches anybody who could train with it is checked under “Who receives it”.",
        ),
        Statement("sale", "Nothing is sold.", unchecked=_WORDS_ONLY),
    )


def _stored(facts: Facts) -> tuple[Statement, ...]:
    operator = facts.settings.operator_name or "the operator of this server"
    return (
        Statement(
            "place",
            f"Everything lies on this server, which is run by {operator}, in one directory that holds nothing but what "
            f"is of {facts.business}.",
            check.directory_is_one_tenants,
        ),
        Statement(
            "encrypted",
            "Database, documents and files are encrypted on the disk.",
            check.files_are_encrypted,
        ),
        Statement("key", "The key is not kept with them.", check.key_is_elsewhere),
        Statement(
            "transit",
            "What you send and read is encrypted on its way (TLS), or does not leave this machine.",
            check.transport_is_private,
        ),
        Statement(
            "sessions",
            "Members are signed out after 30 minutes without use, and after 12 hours in any case.",
            check.sessions_end,
        ),
    )


def _kept(facts: Facts) -> tuple[Statement, ...]:
    plan = facts.plan
    return (
        Statement(
            "kept-conversations",
            f"Conversations: {_days(plan.conversations)} after the last message, unless one must be held by law.",
            check.retention_of("conversations"),
        ),
        Statement(
            "kept-passing",
            f"A conversation that is not kept: {LEFT_SECONDS // 60} minutes after you left the chat, if you do not "
            f"come back to it, and {PASSING_SECONDS // 60} minutes after its last message in any case, unless it must "
            "be held by law.",
            check.passing_conversations_end,
        ),
        Statement(
            "kept-technical",
            f"Technical data: {_days(plan.technical)}.",
            check.retention_of("technical"),
        ),
        Statement(
            "kept-audit",
            f"The record of who did what, without names and texts, and the ledger of connections: {_days(plan.audit)}.",
            check.retention_of("audit"),
        ),
        Statement(
            "kept-exports",
            f"Files that were made for somebody to fetch: {_days(plan.exports)}.",
            check.retention_of("exports"),
        ),
        Statement(
            "kept-receipts",
            "Receipts of erasures, and requests that were answered, which prove that it was done: "
            f"{_days(plan.receipts)}.",
            check.retention_of("receipts"),
        ),
        Statement(
            "kept-rest",
            "The business's documents and settings and its members' accounts: until the business removes them.",
            unchecked="They have no number of days: whether the business still needs them, no program can tell.",
        ),
    )


def _received(facts: Facts) -> tuple[Statement, ...]:
    statements = [
        Statement(
            "recipients",
            _recipients(facts),
            check.ledger_is_as_said,
        ),
        Statement(
            "telemetry",
            "There is no telemetry: this program reports to nobody, and nothing in it went around the ledger.",
            check.nothing_phones_home,
        ),
    ]
    if facts.settings.offline:
        text = "This server is offline: its program opens no connection to any other machine."
        statements.append(Statement("offline", text, check.is_offline_now))
    return tuple(statements)


def _recipients(facts: Facts) -> str:
    settings = facts.settings
    hosts = {one.host for one in facts.recipients if one.purpose.startswith("mail: ")}
    ledger = "Every connection that the program opens is written down in a ledger."
    if facts.sends_mail:
        hosts.add(settings.smtp_host)
    websites = sorted({one.host for one in facts.recipients if one.purpose == READS_SOURCE})
    if websites:
        ledger = (
            f"Pages that {facts.business} gave as documents were fetched from {', '.join(websites)}: whoever runs "
            f"these websites learns which page was asked for, and from which server, and nothing of you. {ledger}"
        )
    told = []
    if hosts:
        told.append(
            f"The mail server that carries mail to you and to the business: {', '.join(sorted(hosts))}. Mail holds "
            "what a visitor wrote to a person, a person's reply, or a link to sign in or to one's own data."
        )
    if facts.stripe_hosts:
        told.append(
            f"Stripe ({', '.join(sorted(facts.stripe_hosts))}), where {facts.business} pays for its plan: it is told "
            "the name of the business's directory here, its customer number and the price that is chosen, and nothing "
            "of visitors. What a member enters on Stripe's pages goes to Stripe alone."
        )
    if not told:
        return f"Nobody else. No conversation and no document leaves this server. {ledger}"
    return f"{' '.join(told)} Nobody else receives anything: questions are answered on this server. {ledger}"


def _browser(facts: Facts) -> tuple[Statement, ...]:
    rows = [("name", "kind", "for", "what for", "how long")]
    rows += [
        (one.name.replace("{tenant}", facts.tenant), one.place, f"{one.who}s", one.purpose, one.kept) for one in STORAGE
    ]
    return (
        Statement(
            "cookies",
            "Members who sign in get one cookie, which only this server can read; visitors get none. There is no "
            "analytics cookie. This is all that a browser may hold:",
            check.cookies_are_as_said,
            rows=tuple(rows),
        ),
        Statement(
            "elsewhere",
            "The pages, the chat and the widget load nothing from any other server, so nobody else learns that you "
            "were here.",
            check.pages_load_nothing_from_elsewhere,
        ),
    )


def _rights(facts: Facts) -> tuple[Statement, ...]:
    link = (
        " If you wrote from another browser, it mails a link to the e-mail address that you left: it works once, "
        "within 30 minutes, and shows everything with that address."
        if facts.sends_mail
        else ""
    )
    return (
        Statement(
            "rights-visitors",
            "You may see, take with you, correct and delete what is stored of you, and take back what you agreed to, "
            f"at any time. The menu of the chat has it; deleting there takes effect at once.{link}",
            check.chat_has_its_menu,
        ),
        Statement(
            "rights-members",
            "Members find the same under their account.",
            check.members_have_their_rights,
        ),
        Statement(
            "rights-owners",
            "Owners can export and erase everything of the business.",
            unchecked="A check that made itself an owner would be a risk. It is tested with the program.",
        ),
        Statement(
            "rights-person",
            f"For what the menu does not do, write to {facts.business}; requests are kept in a register with the date "
            "by which they must be answered.",
            unchecked="A person answers them.",
        ),
    )


def _contact(facts: Facts) -> tuple[Statement, ...]:
    profile, settings = facts.profile, facts.settings
    business = ", ".join(filter(None, (facts.business, profile.contact_email, profile.website)))
    operator = ", ".join(filter(None, (settings.operator_name, settings.operator_contact)))
    return (
        Statement(
            "contact-business",
            f"{business}." if profile.contact_email or profile.website else f"{business} has not named an address yet.",
            unchecked="Whether anybody answers there, no program can tell.",
        ),
        Statement(
            "contact-operator",
            f"Whoever runs this server: {operator}."
            if operator
            else "Whoever runs this server has not named themselves.",
            unchecked="Whether anybody answers there, no program can tell.",
        ),
    )


def _days(number: int) -> str:
    return "1 day" if number == 1 else f"{number} days"
