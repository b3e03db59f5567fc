"""What becomes of a question whose asker has left before it was their turn, or whose model is gone."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Request

from ruma.config import load_settings
from ruma.errors import NotFoundError
from ruma.models.catalogue import find_model
from ruma.server.access import Principal
from ruma.server.asking import LeftException, begin_answer, begin_in_turn
from ruma.server.resources import Resources
from ruma.server.seats import Turns
from ruma.server.shapes import Question
from ruma.tenant.agents import change_agent
from ruma.tenant.conversing.inbox import list_conversations
from ruma.tenant.home import Home
from tests.serving import EMBEDDER, FLAGS, QUESTION, make_tenant


@pytest.fixture
def resources(tmp_path: Path) -> Iterator[Resources]:
    """Return what a server with one tenant keeps open."""
    home = Home(load_settings({**FLAGS, "home": tmp_path}, {}))
    make_tenant(home)
    found = Resources(home, lambda: EMBEDDER, lambda name: open_nothing(home, name))
    yield found
    found.close()


def open_nothing(home: Home, name: str) -> None:
    """Give agents that name no model none; one that is named must be there."""
    if name:
        find_model(home.settings, name)


def ask(resources: Resources, *, is_gone: bool) -> bool:
    """Ask from a connection that is closed, or open and silent; return whether an answer was begun."""

    async def receive() -> Any:
        if not is_gone:
            await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def begin() -> bool:
        turns = Turns(finding=1, writing=1)
        request: Request[Any, Any, Any] = Request({"type": "http", "headers": []}, receive)  # type: ignore[arg-type]
        tenant = resources.tenant("acme")
        try:
            return (
                await begin_in_turn(request, Question(QUESTION), tenant, Principal("visitor"), resources, turns)
            ).is_whole
        finally:
            turns.close()

    return asyncio.run(begin())


def test_a_question_whose_asker_has_left_is_not_answered(resources: Resources) -> None:
    """Nothing of it is stored; the same question of one who waits is."""
    with pytest.raises(LeftException):
        ask(resources, is_gone=True)
    assert list_conversations(resources.tenant("acme")).total == 0

    assert ask(resources, is_gone=False)
    assert list_conversations(resources.tenant("acme")).total == 1


def test_an_agent_whose_model_is_gone_quotes_and_does_not_write(resources: Resources) -> None:
    """Left to choose, it answers its visitors from the documents; told to write, it says what is missing."""
    tenant = resources.tenant("acme")
    change_agent(tenant, model="removed")

    assert begin_answer(Question(QUESTION, mode="auto"), tenant, Principal("visitor"), resources).answer.mode == "quote"
    with pytest.raises(NotFoundError, match="no language model named 'removed'"):
        begin_answer(Question(QUESTION, mode="write"), tenant, Principal("visitor"), resources)
