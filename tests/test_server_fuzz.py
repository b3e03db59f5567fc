"""Whatever the API's own description allows to be sent, and much that it does not, is answered without a crash."""

from collections.abc import Iterator

import pytest

from ruma.config import load_settings
from ruma.server.api.describing import describe_api
from ruma.server.api.health import show_health
from ruma.server.api.routes import openai_api, tenant_api
from ruma.server.app import create_app
from ruma.tenant.home import Home
from tests.serving import EMBEDDER, FLAGS, Running, make_tenant, with_key

SCOPES = ("chat", "read", "write", "conversations", "manage")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """Return the address of a server, and the headers of an API key that may do everything there."""
    folder = tmp_path_factory.mktemp("home")
    home = Home(load_settings({**FLAGS, "home": folder}, {}))
    make_tenant(home)
    with home.open("acme") as tenant:
        key = with_key(tenant, *SCOPES)
    with Running(folder) as running:
        yield f"http://127.0.0.1:{running.port}", key


@pytest.mark.parametrize("everything", [False, pytest.param(True, marks=pytest.mark.nightly)])
def test_no_request_crashes_the_server(server: tuple[str, dict[str, str]], everything: bool) -> None:
    """Requests made from the description, valid and broken ones, get no answer of 500 or above.

    In every run each operation gets a few of them; in the nightly one every bound of every value, too.
    """
    # Imported and built here, or every worker would spend seconds on what one of them uses.
    import schemathesis
    from hypothesis import HealthCheck, settings
    from schemathesis.checks import not_a_server_error
    from schemathesis.pytest.lazy import get_all_tests

    app = create_app(Home(load_settings({"home": "/nonexistent"}, {})), lambda: EMBEDDER, lambda _: None)
    api = schemathesis.openapi.from_dict(describe_api([show_health, tenant_api(), openai_api()], app.dependencies))
    api.config.phases.coverage.enabled = everything
    url, key = server
    asked = set()

    def ask(case: schemathesis.Case) -> None:
        asked.add(case.operation.label)
        if "name" in (case.path_parameters or {}):
            case.path_parameters["name"] = "acme"

        response = case.call(base_url=url, headers={**dict(case.headers or {}), **key}, timeout=20)

        case.validate_response(response, checks=[not_a_server_error])

    few = settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    for built in get_all_tests(schema=api, test_func=ask, settings=few, given_kwargs={}):
        _, test = built.ok()
        test()

    assert asked == {operation.ok().label for operation in api.get_all_operations()}
