import pytest

from ruma.errors import InputError
from ruma.tenant.profile import Profile, change_profile, read_profile
from ruma.tenant.tenant import Tenant


def test_a_profile_is_empty_and_then_as_it_was_changed(tenant: Tenant) -> None:
    """What is changed is kept, the rest stays, and space around it goes."""
    assert read_profile(tenant) == Profile()

    change_profile(tenant, business_name=" Marrowby\n Bakery ", website="bakery.example/shop")
    changed = change_profile(tenant, contact_email=" hello@bakery.example ", notify_email="team@bakery.example")

    assert changed == read_profile(tenant)
    assert changed == Profile(
        "Marrowby Bakery", "https://bakery.example/shop", "hello@bakery.example", "team@bakery.example"
    )
    assert change_profile(tenant, website="").website == ""


@pytest.mark.parametrize(
    "website",
    [
        "javascript:alert(1)", "data:text/html,x", "ftp://x.example", "https://", "https://a b.example",
        "https://user:word@x.example", "https://x.example\\@y.example", "https://x.example:99999", "https://[::1",
        "https://-x.example", "https://x.example/\nSet-Cookie: a=b", "https://" + "x" * 300 + ".example",
    ],
    ids=ascii,
)  # fmt: skip
def test_a_website_is_an_address_that_a_link_may_have(tenant: Tenant, website: str) -> None:
    """Nothing that runs, hides where it goes, or is no address can become the business's website."""
    with pytest.raises(InputError, match="no website"):
        change_profile(tenant, website=website)

    assert read_profile(tenant) == Profile()


@pytest.mark.parametrize(
    "email",
    ["team", "team@", "@bakery.example", "a@b@c.example", "a b@c.example", "a@c.example\nBcc: x@y.example",
     "a@c.example,b@c.example", "<a@c.example>", "a@c..example", "a" * 65 + "@c.example", "é@c.example"],
    ids=ascii,
)  # fmt: skip
def test_a_mail_address_is_one_mailbox(tenant: Tenant, email: str) -> None:
    """No second address and no header gets into where mail is sent."""
    for name in ("contact_email", "notify_email"):
        with pytest.raises(InputError, match="no mail address"):
            change_profile(tenant, **{name: email})


def test_a_profile_has_its_entries_and_no_others(tenant: Tenant) -> None:
    """An unknown entry, one that is no text and a name without end are refused."""
    with pytest.raises(InputError, match="has no colour"):
        change_profile(tenant, colour="red")
    with pytest.raises(InputError, match="is a text"):
        change_profile(tenant, business_name=None)
    with pytest.raises(InputError, match="longer than"):
        change_profile(tenant, business_name="x" * 201)
