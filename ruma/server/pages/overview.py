"""The overview: what happened this week, who waits, what was not answered, and what is left to set up."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency

from ruma.server.access import INBOX_READ, MANAGE, WRITE, principal_of
from ruma.server.pages.shell import show_member_page
from ruma.tenant.agents import read_agent
from ruma.tenant.conversing.consents import is_widget_used
from ruma.tenant.conversing.inbox import list_conversations
from ruma.tenant.conversing.usage import Day, count_usage, list_unanswered
from ruma.tenant.knowledge.index import count_chunks
from ruma.tenant.tenant import Tenant

DAYS = 7
_WAITING, _UNANSWERED, _LATEST = 5, 6, 5
_WIDE, _HIGH, _GAP = 100, 120, 34
"""The room of one day in the picture, and how wide and high its bar may be."""


@dataclass(frozen=True)
class Bar:
    """One day in the picture: where its bar stands, and how much of it was not answered."""

    label: str
    x: int
    wide: int
    top: float
    high: float
    lost: float
    questions: int
    declined: int


@dataclass(frozen=True)
class Step:
    """One thing to set up."""

    title: str
    words: str
    is_done: bool
    place: str
    """The page on which it is done."""
    act: str


@get("/t/{name:str}/overview", policy=INBOX_READ, sync_to_thread=True, include_in_schema=False)
def show_overview(request: Request[Any, Any, Any], tenant: NamedDependency[Tenant]) -> Response[str]:
    """Show the page."""
    principal = principal_of(request)
    usage = count_usage(tenant, DAYS)
    steps = find_steps(tenant)
    return show_member_page(
        "overview.html",
        request,
        tenant,
        current="overview",
        usage=usage,
        share=None if usage.answered_share is None else round(100 * usage.answered_share),
        bars=draw_bars(usage.days),
        waiting_list=list_conversations(tenant, states=["waiting"], limit=_WAITING).conversations,
        unanswered=list_unanswered(tenant, _UNANSWERED),
        latest=list_conversations(tenant, limit=_LATEST).conversations,
        steps=steps,
        steps_left=sum(not step.is_done for step in steps),
        may_write=principal.may(WRITE),
        may_manage=principal.may(MANAGE),
    )


def find_steps(tenant: Tenant) -> list[Step]:
    """Return what there is to set up, in its order, and what of it is done."""
    agent = read_agent(tenant)
    is_tried = list_conversations(tenant, channel="trial", limit=1).total > 0
    is_seen = is_widget_used(tenant)
    return [
        Step(
            "Add your documents",
            "The agent answers from them and from nothing else.",
            count_chunks(tenant) > 0,
            "sources",
            "Add documents",
        ),
        Step(
            "Try it",
            "Ask what your customers ask, and see where each answer comes from.",
            is_tried,
            "try",
            "Try the agent",
        ),
        Step(
            "Allow your website",
            "The agent appears only on websites that you name, or on its own page once that is public.",
            bool(agent.websites) or agent.is_published,
            "agent",
            "Name your website",
        ),
        Step(
            "Put the line on your website",
            "One line of HTML shows the button. This is done when the first question came from there.",
            is_seen,
            "agent",
            "Get the line",
        ),
    ]


def draw_bars(days: tuple[Day, ...], label: Callable[[date], str] | None = None) -> list[Bar]:
    """Return the days as bars of a picture that is as high as the day with most questions.

    Args:
        days: What is drawn, the oldest first.
        label: What stands below a bar; without it, the day of the week.
    """
    most = max((day.questions for day in days), default=0) or 1
    bars = []
    for number, day in enumerate(days):
        high = round(_HIGH * day.questions / most, 1)
        bars.append(
            Bar(
                label=label(date.fromisoformat(day.date)) if label else f"{date.fromisoformat(day.date):%a}",
                x=number * _WIDE + _GAP // 2,
                wide=_WIDE - _GAP,
                top=round(_HIGH - high + 20, 1),
                high=high,
                lost=round(_HIGH * day.declined / most, 1),
                questions=day.questions,
                declined=day.declined,
            )
        )
    return bars
