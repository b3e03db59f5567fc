import hashlib

import pytest

from ruma.config import Settings
from ruma.errors import InputError, NotFoundError
from ruma.tenant.home import Home
from ruma.tenant.people.api_keys import SCOPES, find_api_key, is_valid, list_api_keys, make_api_key, revoke_api_key
from ruma.tenant.tenant import Tenant


def test_a_key_is_shown_once_and_found_by_its_secret(tenant: Tenant) -> None:
    """What is stored is its hash and its first characters."""
    key, secret = make_api_key(tenant, " The  shop ", ["read", "chat"], created_by="Anna")

    found = find_api_key(tenant, secret)

    assert found
    assert (found.id, found.name, found.scopes, found.created_by) == (key.id, "The shop", ("chat", "read"), "Anna")
    assert secret.startswith("ruma_")
    assert len(secret) == 48
    assert secret.startswith(found.beginning)
    assert len(found.beginning) == 10
    with tenant.reading() as db:
        row = db.execute("select * from api_key").fetchone()
    assert hashlib.sha256(secret.encode()).digest() in row
    assert secret not in map(str, row)


@pytest.mark.parametrize("secret", ["", "ruma_", "ruma_wrong", "\ud800", "ruma_" + "x" * 5000])
def test_an_unknown_secret_finds_nothing(tenant: Tenant, secret: str) -> None:
    """Nor one that is shortened or in another case."""
    _, right = make_api_key(tenant, "shop", ["chat"], created_by="Anna")

    for wrong in (secret, right[:-1], right.swapcase(), f" {right}"):
        assert find_api_key(tenant, wrong) is None


@pytest.mark.parametrize(("name", "scopes"), [("", ["chat"]), ("x" * 81, ["chat"]), ("shop", []), ("shop", ["all"])])
def test_a_key_needs_a_name_and_scopes_that_exist(tenant: Tenant, name: str, scopes: list[str]) -> None:
    """Else none is made."""
    with pytest.raises(InputError):
        make_api_key(tenant, name, scopes, created_by="Anna")

    assert list_api_keys(tenant) == []


def test_a_keys_use_is_written_once_a_minute(tenant: Tenant) -> None:
    """The first use is noted, the next within the minute is not, a later one is."""
    _, secret = make_api_key(tenant, "shop", SCOPES, created_by="Anna")

    assert list_api_keys(tenant)[0].last_used_at is None
    find_api_key(tenant, secret)
    first = list_api_keys(tenant)[0].last_used_at
    assert first

    with tenant.reading() as db:
        changes = db.execute("select total_changes()").fetchone()[0]
    find_api_key(tenant, secret)
    with tenant.reading() as db:
        assert db.execute("select total_changes()").fetchone()[0] == changes

    with tenant.writing() as db:
        db.execute("update api_key set last_used_at = '2001-01-01T00:00:00Z'")
    find_api_key(tenant, secret)
    assert str(list_api_keys(tenant)[0].last_used_at) >= first


def test_a_revoked_key_lets_in_no_more(tenant: Tenant) -> None:
    """From the next look on; others go on."""
    gone, secret = make_api_key(tenant, "old", ["chat"], created_by="Anna")
    kept, other = make_api_key(tenant, "new", ["chat"], created_by="Anna")

    revoke_api_key(tenant, gone.id)

    assert find_api_key(tenant, secret) is None
    assert not is_valid(tenant, gone.id)
    assert find_api_key(tenant, other)
    assert is_valid(tenant, kept.id)
    assert [key.name for key in list_api_keys(tenant)] == ["new"]
    with pytest.raises(NotFoundError):
        revoke_api_key(tenant, gone.id)


def test_a_key_opens_its_own_tenant_only(tenant: Tenant, settings: Settings) -> None:
    """Another tenant does not know it."""
    _, secret = make_api_key(tenant, "shop", ["manage"], created_by="Anna")
    home = Home(settings)
    home.create("other")

    with home.open("other") as other:
        assert find_api_key(other, secret) is None
