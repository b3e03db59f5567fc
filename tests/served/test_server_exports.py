import io
import time
import zipfile
from typing import Any

from litestar import Litestar
from litestar.testing import TestClient

from ruma.tenant.copying.exports import list_exports
from ruma.tenant.tenant import Tenant
from tests.serving import sign_in, with_key
from tests.test_exporting import talk

HERE, API, PAGES = "http://127.0.0.1:8420", "/t/acme/api", "/t/acme/data/exports"
FORM = {"content-type": "application/x-www-form-urlencoded", "accept": "text/html"}
Client = TestClient[Litestar]


def ask(client: Client, key: dict[str, str], **body: Any) -> dict[str, Any]:
    """Ask for an export and wait until it is made."""
    answer = client.post(f"{API}/exports", json=body, headers=key)
    assert answer.status_code == 200, answer.text
    asked = answer.json()
    for _ in range(400):
        asked = client.get(f"{API}/exports/{asked['id']}", headers=key).json()
        if asked["state"] in ("done", "failed"):
            break
        time.sleep(0.02)
    return dict(asked)


def test_a_program_asks_for_an_export_and_fetches_it(client: Client, tenant: Tenant) -> None:
    """It is made in the background, downloaded whole under a name that says what it is, and removed by hand."""
    key = with_key(tenant, "manage")

    done = ask(client, key, kind="tenant")
    answer = client.get(f"{API}/exports/{done['id']}/file", headers=key)
    listed = client.get(f"{API}/exports", headers=key).json()["exports"]
    gone = client.delete(f"{API}/exports/{done['id']}", headers=key)

    assert done["state"] == "done"
    assert len(answer.content) == done["size_bytes"]
    assert zipfile.ZipFile(io.BytesIO(answer.content)).testzip() is None
    assert done["file_name"] in answer.headers["content-disposition"]
    assert [one["id"] for one in listed] == [done["id"]]
    assert (gone.status_code, list_exports(tenant)) == (204, [])
    assert client.get(f"{API}/exports/{done['id']}/file", headers=key).status_code == 404


def test_a_visitor_is_exported_by_address(client: Client, tenant: Tenant) -> None:
    """All conversations with the address are in it, and nobody else's."""
    from ruma.tenant.conversing.corrections import correct_visitor_details

    numbers = [talk(tenant, f"Question {number}") for number in range(3)]
    for number in numbers[:2]:
        correct_visitor_details(tenant, number, email="jo@example.com")
    key = with_key(tenant, "manage")

    done = ask(client, key, kind="visitor", visitor="JO@example.com")

    assert done["conversations"] == numbers[:2]
    for body in ({"kind": "visitor", "visitor": "no@example.com"}, {"kind": "member", "member": "9"}):
        assert client.post(f"{API}/exports", json=body, headers=key).status_code == 404
    for body in (
        {"kind": "visitor"},
        {"kind": "member"},
        {"kind": "visitors"},
        {"kind": "tenant", "password": "short"},
    ):
        assert client.post(f"{API}/exports", json=body, headers=key).status_code == 400


def test_an_owner_asks_on_the_page(client: Client, tenant: Tenant) -> None:
    """The form makes an export, the page lists it, and a button removes it; a mistake is said on the page."""
    owner = sign_in(tenant) | FORM

    empty = client.get(PAGES, headers=owner)
    bad = client.post(PAGES, content="kind=visitor&visitor=nobody", headers=owner)
    vague = [client.post(PAGES, content=one, headers=owner) for one in ("kind=visitors&visitor=1", "visitor=1")]
    assert list_exports(tenant) == []
    sent = client.post(PAGES, content="kind=tenant", headers=owner)
    shown = client.get(f"{PAGES}/list", headers=owner).text
    for _ in range(400):
        if "Ready" in (done := client.get(f"{PAGES}/list", headers=owner).text):
            break
        time.sleep(0.02)
    removed = client.post(f"{PAGES}/1/remove", headers=owner)

    assert "No export was made yet" in empty.text
    assert (bad.status_code, "conversation" in bad.text) == (400, True)
    assert [(one.status_code, "Say what to export" in one.text) for one in vague] == [(400, True)] * 2
    assert (sent.status_code, sent.headers["location"]) == (303, f"{PAGES}?done=asked")
    assert "Everything" in shown
    assert "Ready" in done
    assert f"{API}/exports/1/file" in done
    assert "every 2s" not in done
    assert (removed.status_code, list_exports(tenant)) == (303, [])


def test_a_member_downloads_their_own_data(client: Client, tenant: Tenant) -> None:
    """Whatever the role, and no program in a person's name."""
    viewer = sign_in(tenant, "viewer")

    answer = client.get("/t/acme/account/data", headers=viewer)

    found = zipfile.ZipFile(io.BytesIO(answer.content))
    assert "viewer@acme.example" in found.read("data/member.jsonl").decode()
    assert client.get("/t/acme/account/data", headers=with_key(tenant, "manage")).status_code == 403
    assert client.get(PAGES, headers=viewer).status_code == 403
