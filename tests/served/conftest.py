"""A server of its own for each file, and for each test a tenant that nobody touched."""

from collections.abc import Iterator

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.config import load_settings
from ruma.server.app import create_app
from ruma.tenant.home import Home
from ruma.tenant.tenant import Tenant
from tests.serving import EMBEDDER, FLAGS, renew_tenant

Client = TestClient[Litestar]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Client]]:
    """Return a home and a client of its server, which follows no redirect."""
    home = Home(load_settings({**FLAGS, "home": tmp_path_factory.mktemp("home")}, {}))
    app = create_app(home, lambda: EMBEDDER, lambda _: None)
    with TestClient(app, base_url="http://127.0.0.1:8420") as client:
        client.follow_redirects = False
        yield home, client


@pytest.fixture
def home(served: tuple[Home, Client]) -> Home:
    """Return the home with a new tenant."""
    return renew_tenant(served[0])


@pytest.fixture
def tenant(home: Home) -> Iterator[Tenant]:
    """Return the tenant, opened beside the server."""
    with home.open("acme") as tenant:
        yield tenant


@pytest.fixture
def client(served: tuple[Home, Client], home: Home) -> Client:
    """Return a client of the server, on which nobody is signed in."""
    served[1].cookies.clear()
    return served[1]
