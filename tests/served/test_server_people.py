import re
from collections.abc import Iterator

import pyotp
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.business.mail import Mail, Outbox
from ruma.config import Settings, load_settings
from ruma.server.addresses import PublicAddress
from ruma.server.app import create_app
from ruma.server.listener import invite_owners
from ruma.server.pages.account import draw_code
from ruma.tenant.audit import list_audit
from ruma.tenant.erasing.receipts import list_receipts
from ruma.tenant.home import Home
from ruma.tenant.keeping.holds import end_hold, set_hold
from ruma.tenant.people.api_keys import find_api_key, list_api_keys
from ruma.tenant.people.joining import accept_invitation, set_up_owner
from ruma.tenant.people.links import list_invitations, peek_link
from ruma.tenant.people.members import check_sign_in, create_member, find_member, list_members
from ruma.tenant.people.second_factor import check_code, enable_second_factor, new_factor_secret
from ruma.tenant.people.sessions import begin_session, list_sessions
from ruma.tenant.tenant import Tenant
from tests.serving import EMBEDDER, FLAGS, PASSWORD, sign_in

HERE, PUBLIC = "http://127.0.0.1:8420", PublicAddress(origin="https://ask.example.com")
PEOPLE, ACCOUNT = "/t/acme/people", "/t/acme/account"
OTHER = "lantern gravel opera 51"
Client = TestClient[Litestar]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Client]]:
    """Return a home and a client of its server."""
    home = Home(load_settings({"home": tmp_path_factory.mktemp("home"), **FLAGS}, {}))
    with TestClient(create_app(home, lambda: EMBEDDER, lambda _: None, public=PUBLIC), base_url=HERE) as client:
        client.follow_redirects = False
        yield home, client


@pytest.fixture
def client(client: Client, tenant: Tenant) -> Client:
    """Return a client of an owner who is signed in."""
    client.headers.update({"accept": "text/html", **sign_in(tenant)})
    return client


def secret_in(page: str) -> str:
    """Return what a page shows this once."""
    found = re.search(r'<code id="made">([^<]+)</code>', page)
    assert found, page
    return found[1]


def test_a_person_is_invited_by_a_link_of_our_own_origin(client: Client, tenant: Tenant) -> None:
    """The link is shown once, begins with the configured origin whatever the request says, and makes the member."""
    headers = {"x-forwarded-host": "evil.example", "forwarded": "host=evil.example"}
    page = client.post(f"{PEOPLE}/invitations", data={"email": "bob@example.com", "role": "viewer"}, headers=headers)

    link = secret_in(page.text)
    assert link.startswith("https://ask.example.com/t/acme/invitation/")
    assert "bob@example.com" in client.get(PEOPLE).text
    assert link not in client.get(PEOPLE).text
    member = accept_invitation(tenant, link.rpartition("/")[2], name="Bob", password=PASSWORD)
    assert member.role == "viewer"


def test_an_invitation_is_withdrawn(client: Client, tenant: Tenant) -> None:
    """And one that cannot be is refused, with what was typed still there."""
    client.post(f"{PEOPLE}/invitations", data={"email": "bob@example.com", "role": "viewer"})

    gone = client.post(f"{PEOPLE}/invitations/withdraw", data={"email": "bob@example.com"})
    wrong = client.post(f"{PEOPLE}/invitations", data={"email": "no address", "role": "viewer"})

    assert gone.status_code == 303
    assert list_invitations(tenant) == []
    assert wrong.status_code == 400
    assert 'value="no address"' in wrong.text


def test_members_are_changed(client: Client, tenant: Tenant) -> None:
    """Role, access, a link to a new password, and removal; the last owner stays."""
    bob = create_member(tenant, email="bob@example.com", name="Bob", role="viewer", password=PASSWORD)
    owner = find_member(tenant, "owner@acme.example")

    statuses = [
        client.post(f"{PEOPLE}/{bob.id}/role", data={"role": "editor"}).status_code,
        client.post(f"{PEOPLE}/{bob.id}/access", data={"disabled": "yes"}).status_code,
    ]
    changed = find_member(tenant, bob.id)
    client.post(f"{PEOPLE}/{bob.id}/access", data={"disabled": "no"})
    unsure = client.post(f"{PEOPLE}/{bob.id}/reset", data={"password": OTHER})
    link = secret_in(client.post(f"{PEOPLE}/{bob.id}/reset", data={"password": PASSWORD}).text)
    risen = [
        client.post(f"{PEOPLE}/{bob.id}/role", data={"role": "owner", "password": password}).status_code
        for password in ("", PASSWORD)
    ]
    client.post(f"{PEOPLE}/{bob.id}/role", data={"role": "editor"})
    invited = [
        client.post(f"{PEOPLE}/invitations", data={"email": "eve@example.com", "role": "owner", "password": password})
        for password in ("", PASSWORD)
    ]
    last = [
        client.post(f"{PEOPLE}/{owner.id}/role", data={"role": "viewer"}),
        client.post(f"{PEOPLE}/{owner.id}/remove"),
    ]
    removed = client.post(f"{PEOPLE}/{bob.id}/remove")

    assert statuses == [303, 303]
    assert (changed.role, changed.is_disabled) == ("editor", True)
    assert "/t/acme/reset/" in link
    assert unsure.status_code == 400
    assert "not your password" in unsure.text
    assert risen == [400, 303]
    assert [page.status_code for page in invited] == [400, 200]
    assert '<option value="owner" selected>' in invited[0].text  # what was chosen is still there
    assert [page.status_code for page in last] == [409, 409]
    assert "last owner" in last[0].text
    assert removed.status_code == 303
    assert [one.name for one in list_members(tenant)] == [owner.name]


def test_a_key_is_made_and_revoked(client: Client, tenant: Tenant) -> None:
    """It is shown once, with the scopes that were ticked and who made it."""
    page = client.post(f"{PEOPLE}/keys", data={"key_name": "shop", "scope": ["chat", "read"]})
    secret = secret_in(page.text)
    key = find_api_key(tenant, secret)
    assert key
    listed = client.get(PEOPLE).text
    none = client.post(f"{PEOPLE}/keys", data={"key_name": "shop"})
    gone = client.post(f"{PEOPLE}/keys/{key.id}/revoke")

    assert (key.name, key.scopes, key.created_by) == ("shop", ("chat", "read"), "The owner")
    assert secret not in listed
    assert none.status_code == 400
    assert gone.status_code == 303
    assert list_api_keys(tenant) == []


def test_a_name_is_changed(client: Client, tenant: Tenant) -> None:
    """An empty one is refused beside the field."""
    wrong = client.post(f"{ACCOUNT}/name", data={"name": " "})
    right = client.post(f"{ACCOUNT}/name", data={"name": "Ada <b>"})

    assert wrong.status_code == 400
    assert "cannot be empty" in wrong.text
    assert right.status_code == 303
    assert "Ada &lt;b&gt;" in client.get(ACCOUNT).text


def test_a_new_password_signs_out_everywhere_but_here(client: Client, tenant: Tenant) -> None:
    """It needs the old one; this browser gets a new session, the others none, and the log says whose deed it was."""
    member = find_member(tenant, "owner@acme.example")
    begin_session(tenant, member.id)

    wrong = client.post(f"{ACCOUNT}/password", data={"password": OTHER, "new_password": OTHER})
    weak = client.post(f"{ACCOUNT}/password", data={"password": PASSWORD, "new_password": "1234567890"})
    assert len(list_sessions(tenant, member.id)) == 2
    done = client.post(f"{ACCOUNT}/password", data={"password": PASSWORD, "new_password": OTHER})

    assert (wrong.status_code, weak.status_code, done.status_code) == (400, 400, 303)
    assert "not your password" in wrong.text
    assert len(list_sessions(tenant, member.id)) == 1
    assert done.headers["set-cookie"].split("=")[1] not in client.headers["cookie"]
    assert check_sign_in(tenant, member.email, OTHER)
    assert list_audit(tenant, thing="password")[0].actor.kind == "member"
    assert client.get(ACCOUNT).status_code == 303  # the old cookie leads to the door


def test_a_new_password_gives_a_page_with_scripts_its_new_session(client: Client) -> None:
    """The page is loaded anew, with the cookie of the session that goes on."""
    form = {"password": PASSWORD, "new_password": OTHER}

    done = client.post(f"{ACCOUNT}/password", data=form, headers={"hx-request": "true"})

    assert done.headers["hx-redirect"] == ACCOUNT
    assert "__Host-ruma-acme=" in done.headers["set-cookie"]


def test_the_second_factor_is_switched_on_and_off(client: Client, tenant: Tenant) -> None:
    """On with a code and the password, showing the recovery codes once; new ones and off need the password too."""
    member = find_member(tenant, "owner@acme.example")
    page = client.get(f"{ACCOUNT}/second-factor")
    found = re.search(r'name="secret" value="([A-Z2-7]+)"', page.text)
    assert found
    form = {"secret": found[1], "code": pyotp.TOTP(found[1]).now(), "password": PASSWORD}

    refused = [
        client.post(f"{ACCOUNT}/second-factor", data={**form, "code": "000000"}).status_code,
        client.post(f"{ACCOUNT}/second-factor", data={**form, "password": OTHER}).status_code,
        *(
            client.post(f"{ACCOUNT}/second-factor", data={**form, "secret": none}).status_code
            for none in ("", "no secret", "A" * 33)
        ),
    ]
    shown = client.post(f"{ACCOUNT}/second-factor", data=form)
    codes = re.findall(r"\b[0-9a-z]{4}(?:-[0-9a-z]{4}){3}\b", shown.text)
    new = client.post(f"{ACCOUNT}/second-factor/change", data={"password": PASSWORD, "do": "codes"})
    wrong = client.post(f"{ACCOUNT}/second-factor/change", data={"password": OTHER, "do": "off"})
    kept = find_member(tenant, member.id).has_second_factor
    off = client.post(f"{ACCOUNT}/second-factor/change", data={"password": PASSWORD, "do": "off"})

    assert "<svg" in page.text
    assert refused == [400] * 5
    assert len(codes) == 10
    assert not check_code(tenant, member.id, codes[0])
    assert codes[0] not in new.text
    assert (wrong.status_code, kept, off.status_code) == (400, True, 303)
    assert not find_member(tenant, member.id).has_second_factor


def test_sessions_are_ended_one_by_one_and_all_at_once(client: Client, tenant: Tenant) -> None:
    """Nobody else's can be; after all of them, the door."""
    member = find_member(tenant, "owner@acme.example")
    begin_session(tenant, member.id, browser="Safari on iPhone")
    other = create_member(tenant, email="bob@example.com", name="Bob", role="owner", password=PASSWORD)
    begin_session(tenant, other.id)
    theirs = list_sessions(tenant, other.id)[0]
    phone = next(one for one in list_sessions(tenant, member.id) if one.browser == "Safari on iPhone")

    assert "Safari on iPhone" in client.get(ACCOUNT).text
    assert client.post(f"{ACCOUNT}/sessions/{theirs.id}/end").status_code == 404
    assert client.post(f"{ACCOUNT}/sessions/{phone.id}/end").status_code == 303
    assert len(list_sessions(tenant, member.id)) == 1
    out = client.post(f"{ACCOUNT}/sessions/end", headers={"hx-request": "true"})

    assert out.headers["hx-redirect"] == "/t/acme/sign-in?done=signed-out"
    left = client.get(ACCOUNT, headers={"hx-request": "true"})
    assert left.headers["hx-redirect"] == "/t/acme/sign-in?next=/t/acme/account"
    assert list_sessions(tenant, member.id) == []
    assert len(list_sessions(tenant, other.id)) == 1


def test_the_picture_holds_squares_alone() -> None:
    """A path of numbers, so no name of a tenant or member becomes markup."""
    size, path = draw_code("otpauth://totp/x?secret=ABC")

    assert size > 20
    assert re.fullmatch(r"(M\d+ \d+h1v1h-1z)+", path)


@pytest.mark.parametrize("count", [1, 3, 4])
def test_the_server_says_how_the_first_owner_gets_in(settings: Settings, count: int) -> None:
    """A link for each tenant that has no owner, or the command for one; for more than three, one line in all."""
    home, said = Home(settings), []
    for number in range(count + 1):
        home.create(f"shop-{number}")
    with home.open("shop-0") as tenant:
        create_member(tenant, email="anna@example.com", name="Anna", role="owner", password=PASSWORD)

    quietly: list[str] = []
    invite_owners(home, PUBLIC, quietly.extend, shows_links=False)
    invite_owners(home, PUBLIC, said.extend)

    assert not any("https://" in line for line in quietly)
    assert all("ruma members link --tenant" in line for line in quietly)
    assert len(quietly) == (count if count <= 3 else 1)
    links = [line for line in said if line.startswith("https://")]
    assert len(links) == (count if count <= 3 else 0)
    assert not any("shop-0" in line for line in said)
    if links:
        name, secret = re.findall(r"/t/([\w-]+)/setup/([\w-]+)", links[0])[0]
        with home.open(name) as tenant:
            assert peek_link(tenant, "setup", secret)
            assert set_up_owner(tenant, secret, email="eve@example.com", name="Eve", password=PASSWORD)
    else:
        assert "4 tenants" in said[0]
        assert "ruma members link" in said[0]


def test_an_owner_takes_a_lost_second_factor_away(client: Client, tenant: Tenant) -> None:
    """It needs the owner's own password; the other's sessions end, the audit log says who did it, and a mail goes."""
    sign_in(tenant, "editor")
    other = find_member(tenant, "editor@acme.example")
    secret = new_factor_secret()
    codes = enable_second_factor(tenant, other.id, secret, pyotp.TOTP(secret).now())
    url = f"{PEOPLE}/{other.id}/second-factor"
    mails: list[Mail] = []

    class Listening(Outbox):
        def post(self, mail: Mail, tenant: Tenant) -> bool:
            mails.append(mail)
            return super().post(mail, tenant)

    resources = client.app.state.resources
    before = resources.outbox
    resources.outbox = Listening(resources.home.settings)
    try:
        shown = client.get(PEOPLE)
        wrong = client.post(url, data={"password": OTHER})
        kept = find_member(tenant, other.id).has_second_factor, len(list_sessions(tenant, other.id))
        by_api = client.post(f"/t/acme/api/members/{other.id}/second-factor/remove", json={"password": ""})
        done = client.post(url, data={"password": PASSWORD})
        again = client.post(url, data={"password": PASSWORD})
    finally:
        resources.outbox = before

    assert f'action="{url}"' in shown.text
    assert (wrong.status_code, kept) == (400, (True, 1))
    assert "not your password" in wrong.text
    assert (by_api.status_code, done.status_code, again.status_code) == (400, 303, 409)
    assert not find_member(tenant, other.id).has_second_factor
    assert list_sessions(tenant, other.id) == []
    assert not check_code(tenant, other.id, codes[0])
    noted = next(one for one in list_audit(tenant) if one.action == "second-factor.removed")
    owner = find_member(tenant, "owner@acme.example")
    assert (noted.actor.kind, noted.actor.id, noted.subject) == ("member", owner.id, f"member {other.id}")
    assert [mail.to for mail in mails] == [other.email]
    assert "The owner switched off" in mails[0].text


def test_members_erase_their_own_account(client: Client, tenant: Tenant) -> None:
    """With their password, with a receipt, and with the cookie taken out; what a hold keeps and the last owner stay."""
    form = {"password": PASSWORD}
    last = client.post(f"{ACCOUNT}/remove", data=form)
    client.headers.update(sign_in(tenant, "editor"))
    wrong = client.post(f"{ACCOUNT}/remove", data={"password": OTHER})
    held = set_hold(tenant, "A case.")
    kept = client.post(f"{ACCOUNT}/remove", data=form)
    end_hold(tenant, held.id)
    gone = client.post(f"{ACCOUNT}/remove", data=form)

    assert (last.status_code, wrong.status_code, kept.status_code) == (409, 400, 409)
    assert "is the last owner" in last.text
    assert gone.headers["location"] == "/t/acme/sign-in?done=left"
    assert "Max-Age=0" in gone.headers["set-cookie"]
    assert "Your account is erased." in client.get(gone.headers["location"]).text
    assert [one.role for one in list_members(tenant)] == ["owner"]
    (receipt,) = list_receipts(tenant)
    assert receipt.signed
    assert receipt.signed.receipt.kind == "member"
    assert client.get(ACCOUNT).headers["location"].startswith("/t/acme/sign-in")
