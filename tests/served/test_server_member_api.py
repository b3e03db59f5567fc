from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.tenant.home import Home
from ruma.tenant.people.joining import accept_invitation, reset_password
from ruma.tenant.people.links import list_invitations
from ruma.tenant.people.members import change_member, create_member, list_members
from ruma.tenant.tenant import Tenant
from tests.serving import PASSWORD, sign_in, with_key

HERE, API = "http://127.0.0.1:8420", "/t/acme/api"
Client = TestClient[Litestar]


@pytest.fixture
def client(served: tuple[Home, Client], tenant: Tenant) -> Client:
    """Return a client with a key that may manage."""
    served[1].headers.update(with_key(tenant, "manage"))
    return served[1]


def invite(client: Client, email: str = "bob@example.com") -> str:
    """Invite an editor and return the link's secret."""
    answer = client.post(f"{API}/members/invitations", json={"email": email, "role": "editor"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["is_mailed"] is False
    return str(answer.json()["link"].rpartition("/")[2])


def as_owner(client: Client, owner: dict[str, str], method: str, url: str, sent: Any) -> Any:
    """Return the answer to a request that an owner sends from a browser, and not a program with the key."""
    key = client.headers.pop("authorization")
    try:
        return client.request(method, url, json=sent, headers=owner)
    finally:
        client.headers["authorization"] = key


def test_members_are_invited_changed_and_removed(client: Client, tenant: Tenant) -> None:
    """All that the page does, by a program, and a new password by an owner; the last owner stays."""
    owner_here = sign_in(tenant)
    member = accept_invitation(tenant, invite(client), name="Bob", password=PASSWORD)
    invite(client, "eve@example.com")
    url = f"{API}/members/{member.id}"

    listed = client.get(f"{API}/members").json()
    changed = client.patch(url, json={"role": "viewer", "is_disabled": False}).json()
    link = as_owner(client, owner_here, "POST", f"{url}/reset", {"password": PASSWORD}).json()["link"]
    reset_password(tenant, link.rpartition("/")[2], "lantern gravel opera 51")
    gone = client.delete(url)
    owner = next(one for one in listed["members"] if one["role"] == "owner")
    last = client.delete(f"{API}/members/{owner['id']}")
    left = client.post(f"{API}/members/invitations/withdraw", json={"email": "eve@example.com"})

    assert [one["name"] for one in listed["members"]] == ["The owner", "Bob"]
    assert [one["email"] for one in listed["invitations"]] == ["eve@example.com"]
    assert not any("password" in key or "totp" in key for one in listed["members"] for key in one)
    assert (changed["role"], gone.status_code, last.status_code, left.status_code) == ("viewer", 204, 409, 204)
    assert last.json()["error"]["code"] == "conflict"
    after = client.get(f"{API}/members").json()
    assert (len(after["members"]), after["invitations"]) == (1, [])


def test_no_key_gives_an_account_away(client: Client, tenant: Tenant) -> None:
    """What makes an owner or opens another's account takes an owner in person, with their password; a key never may."""
    owner = sign_in(tenant)
    bob = accept_invitation(tenant, invite(client), name="Bob", password=PASSWORD)
    old = create_member(tenant, email="old@example.com", name="Old", role="owner", password=PASSWORD)
    change_member(tenant, old.id, is_disabled=True)
    takes: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", f"{API}/members/{bob.id}/reset", {}),
        ("POST", f"{API}/members/{bob.id}/second-factor/remove", {}),
        ("PATCH", f"{API}/members/{bob.id}", {"role": "owner"}),
        ("PATCH", f"{API}/members/{old.id}", {"is_disabled": False}),
        ("POST", f"{API}/members/invitations", {"email": "new@example.com", "role": "owner"}),
    ]

    for method, url, sent in takes:
        by_key = client.request(method, url, json={**sent, "password": PASSWORD})
        unsure = as_owner(client, owner, method, url, {**sent, "password": ""})

        assert (by_key.status_code, unsure.status_code) == (403, 400), url
        assert "your own password" in unsure.json()["error"]["message"]
    wrong = as_owner(client, owner, *takes[2][:2], {"role": "owner", "password": "lantern gravel opera 51"})
    assert wrong.status_code == 400
    assert "not your password" in wrong.json()["error"]["message"]
    assert [one.role for one in list_members(tenant) if not one.is_disabled] == ["owner", "editor"]
    assert list_invitations(tenant) == []
    done = [as_owner(client, owner, *take[:2], {**take[2], "password": PASSWORD}).status_code for take in takes]
    assert done == [200, 409, 200, 200, 200]  # Bob has no second factor
    assert [one.role for one in list_members(tenant) if not one.is_disabled] == ["owner"] * 3
    assert client.patch(f"{API}/members/{bob.id}", json={"name": "Bo", "role": "owner"}).status_code == 200  # is one


def test_keys_are_made_used_and_revoked(client: Client) -> None:
    """A key is given once and works until it is revoked, from the next request on."""
    made = client.post(f"{API}/keys", json={"name": "reader", "scopes": ["read"]}).json()
    headers = {"Authorization": f"Bearer {made['key']}"}

    works = client.get(f"{API}/documents", headers=headers).status_code
    narrow = client.get(f"{API}/keys", headers=headers).status_code
    listed = client.get(f"{API}/keys")
    client.delete(f"{API}/keys/{made['info']['id']}")

    assert (works, narrow) == (200, 403)
    assert made["key"] not in listed.text
    assert {one["name"] for one in listed.json()["keys"]} == {"reader", "test"}
    assert client.get(f"{API}/documents", headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("POST", "/keys", {"name": "x", "scopes": ["all"]}),
        ("POST", "/keys", {"name": "x", "scopes": []}),
        ("POST", "/members/invitations", {"email": "no address", "role": "viewer"}),
        ("POST", "/members/invitations", {"email": "a@b.example", "role": "admin"}),
        ("PATCH", "/members/1", {"name": ""}),
        ("PATCH", "/members/1", {"role": 5}),
    ],
)
def test_what_cannot_be_is_refused(client: Client, tenant: Tenant, method: str, path: str, sent: Any) -> None:
    """With the one shape of failures."""
    sign_in(tenant)

    answer = client.request(method, f"{API}{path}", json=sent)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "bad_request"
