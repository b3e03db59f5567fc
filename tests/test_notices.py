import pytest

from ruma.business.notices import handover_notices, invitation_notice, reply_notice, reset_notice, trial_notice
from ruma.tenant.profile import Profile

PROFILE = Profile("Marrowby Bakery", "https://bakery.example", "hello@bakery.example", "team@bakery.example")
ORIGIN = "https://ruma.example"


def hand_over(profile: Profile = PROFILE, **changes: str) -> list[str]:
    """Return where a hand-over's mails go."""
    wanted = {"name": "Ana", "email": "ana@example.com", "message": "Call me.\nPlease.", **changes}
    mails = handover_notices(
        profile, ["a@bakery.example", "b@bakery.example"], origin=ORIGIN, tenant="bakery", conversation_id=7, **wanted
    )
    return [mail.to for mail in mails]


def test_a_hand_over_says_who_asks_and_where_to_answer() -> None:
    """It has the visitor's words, an answer to it goes to the visitor, and its link opens the conversation."""
    mail = handover_notices(
        PROFILE, [], origin=ORIGIN, tenant="bakery", conversation_id=7, name="Ana", email="ana@example.com",
        message="Call me.\nPlease.",
    )[0]  # fmt: skip

    assert (mail.to, mail.reply_to) == ("team@bakery.example", "ana@example.com")
    assert mail.subject == "Marrowby Bakery: Ana asks for a person"
    assert "> Call me.\n> Please.\n" in mail.text
    assert "https://ruma.example/t/bakery/conversations/7\n" in mail.text


def test_a_hand_over_goes_to_the_owners_where_no_address_is_set() -> None:
    """The notification address comes first; without one, each owner gets a mail of their own."""
    assert hand_over() == ["team@bakery.example"]
    assert hand_over(Profile()) == ["a@bakery.example", "b@bakery.example"]


def test_a_visitor_without_name_and_address_is_one_too() -> None:
    """A hand-over without them says so, and has nobody to answer to."""
    mail = handover_notices(
        Profile(),
        ["a@bakery.example"],
        origin=ORIGIN,
        tenant="bakery",
        conversation_id=7,
        name="",
        email="",
        message="Hi",
    )[0]

    assert (mail.reply_to, mail.subject) == ("", "bakery: a visitor asks for a person")
    assert "left no mail address" in mail.text


@pytest.mark.parametrize(
    ("language", "subject"),
    [
        ("en", "Your answer from Marrowby Bakery"),
        ("de-CH", "Ihre Antwort von Marrowby Bakery"),
        ("nl", "Uw antwoord van Marrowby Bakery"),
        ("xx", "Your answer from Marrowby Bakery"),
        ("", "Your answer from Marrowby Bakery"),
    ],
)
def test_a_reply_reaches_the_visitor_in_their_language(language: str, subject: str) -> None:
    """The words around the reply are in the visitor's language where there are any; the reply is as it was written."""
    whom = {"conversation_id": 3, "to": "ana@example.com", "author": "Bo"}
    mail = reply_notice(PROFILE, tenant="bakery", **whom, text="We {do}.", language=language)

    assert mail.subject == subject
    assert "\n\nWe {do}.\n\n-- \nMarrowby Bakery\nhttps://bakery.example\nhello@bakery.example\n" in mail.text
    assert (mail.to, mail.reply_to) == ("ana@example.com", "hello@bakery.example")


def test_links_begin_with_the_servers_own_address() -> None:
    """Invitation and new password hold the one link that works, under the public address and the tenant's name."""
    invited = invitation_notice(
        PROFILE, origin=ORIGIN, tenant="bakery", to="bo@bakery.example", inviter="Ana", secret="S1"
    )
    reset = reset_notice(PROFILE, origin=ORIGIN, tenant="bakery", to="bo@bakery.example", secret="S2")

    assert "\nhttps://ruma.example/t/bakery/invitation/S1\n" in invited.text
    assert "\nhttps://ruma.example/t/bakery/reset/S2\n" in reset.text
    assert invited.subject == "Ana invites you to Marrowby Bakery"
    assert "Marrowby Bakery" in trial_notice(PROFILE, tenant="bakery", to="bo@bakery.example").subject
