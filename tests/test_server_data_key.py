"""Owners see where the key of their data is kept, never the key, and stay signed in when it is rotated."""

from litestar.testing import TestClient

from ruma.config import Settings
from ruma.server.app import create_app
from ruma.tenant.home import Home
from ruma.tenant.keys.rotation import rotate_key
from tests.serving import EMBEDDER, make_tenant, sign_in, with_key

HERE = "http://127.0.0.1:8420"


def test_owners_see_where_the_key_is_kept(settings: Settings) -> None:
    """Page and API say the place and the dates, before and after a rotation; others are refused; no key is shown."""
    home = Home(settings)
    make_tenant(home)
    with home.open("acme") as tenant:
        owner, program, reader = sign_in(tenant), with_key(tenant, "manage"), with_key(tenant, "read")
        old = tenant.key
        with TestClient(create_app(Home(settings), lambda: EMBEDDER, lambda _: None), base_url=HERE) as client:
            before = client.get("/t/acme/api/data-key", headers=program).json()
            page = client.get("/t/acme/data", headers=owner)
            refused = client.get("/t/acme/api/data-key", headers=reader)
            list(rotate_key(Home(settings), "acme"))
            after = client.get("/t/acme/api/data-key", headers=program).json()
            rotated = client.get("/t/acme/data", headers=owner)

        assert before["kept_in"] == after["kept_in"] == "a sealed file, opened by the machine's key file"
        assert (before["is_rotated"], refused.status_code) == (False, 403)
        assert "never; made on" in page.text
        assert rotated.status_code == 200, "the session outlives the key"
        assert after["made_at"][:10] in rotated.text
        for key in (old, Home(settings).open("acme").key):
            assert not any(key.raw.hex() in shown for shown in (page.text, rotated.text, str(before), str(after)))
