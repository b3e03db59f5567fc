from ruma.config import load_settings
from ruma.tenant.home import Home
from ruma.tenant.people.api_keys import find_api_key
from tests.running import read_json, run


def test_a_key_is_printed_once() -> None:
    """Alone on standard output, so that a script can take it; the list shows its beginning only."""
    run("tenant", "create", "acme")

    result = run("api-keys", "create", "shop", "--scope", "read", "--scope", "chat")
    secret = result.stdout.strip()
    listed = run("api-keys", "list").stdout

    with Home(load_settings()).open("acme") as tenant:
        key = find_api_key(tenant, secret)
    assert key
    assert key.scopes == ("chat", "read")
    assert "once" in result.stderr
    assert secret[:10] in listed
    assert secret not in listed
    assert "operator" in listed


def test_a_key_may_chat_unless_told_otherwise() -> None:
    """The narrowest scope is the default."""
    run("tenant", "create", "acme")

    made = read_json("api-keys", "create", "shop")

    assert made["scopes"] == ["chat"]
    assert made["key"].startswith("ruma_")
    assert [one["name"] for one in read_json("api-keys", "list")] == ["shop"]


def test_a_revoked_key_is_gone() -> None:
    """It is not listed any more and lets nobody in."""
    run("tenant", "create", "acme")
    made = read_json("api-keys", "create", "shop")

    result = run("api-keys", "revoke", made["id"])
    again = run("api-keys", "revoke", made["id"])

    with Home(load_settings()).open("acme") as tenant:
        assert find_api_key(tenant, made["key"]) is None
    assert result.exit_code == 0
    assert again.exit_code == 1
    assert "no key yet" in run("api-keys", "list").stderr


def test_an_unknown_scope_makes_no_key() -> None:
    """The message lists those there are."""
    run("tenant", "create", "acme")

    result = run("api-keys", "create", "shop", "--scope", "all")

    assert result.exit_code == 1
    assert "conversations" in result.stderr
    assert read_json("api-keys", "list") == []
