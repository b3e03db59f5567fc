"""Usage over a time that is chosen: how much was asked, where, how it was answered, and what was not answered."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from ruma.server.access import INBOX_READ, WRITE, principal_of
from ruma.server.pages.conversations import CHANNELS
from ruma.server.pages.overview import draw_bars
from ruma.server.pages.shell import show_member_page
from ruma.tenant.conversing.usage import Day, count_usage, list_unanswered
from ruma.tenant.tenant import Tenant

PERIODS = {7: "7 days", 30: "30 days", 90: "90 days", 365: "A year"}
MODES = {
    "quote": "In the documents' own words",
    "write": "Written by a language model from the documents",
    "pair": "With an answer of your own",
    "": "Not answered",
}
_UNANSWERED = 50
_MOST_BARS = 7
"""As many as are legible on a phone."""


@get("/t/{name:str}/usage", policy=INBOX_READ, sync_to_thread=True, include_in_schema=False)
def show_usage_page(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    days: Annotated[int, QueryParameter(ge=1, le=366)] = 30,
) -> Response[str]:
    """Show the page."""
    usage, size = count_usage(tenant, days), -(-days // _MOST_BARS)
    return show_member_page(
        "usage.html",
        request,
        tenant,
        current="usage",
        days=days,
        periods=PERIODS,
        usage=usage,
        share=None if usage.answered_share is None else round(100 * usage.answered_share),
        bars=draw_bars(tuple(_together(usage.days, size)), _name_short if days > _MOST_BARS else None),
        days_a_bar=size,
        channels=[(CHANNELS.get(name, name), number) for name, number in usage.channels.items()],
        modes=[(MODES.get(name, name), number) for name, number in usage.modes.items()],
        unanswered=list_unanswered(tenant, _UNANSWERED),
        may_write=principal_of(request).may(WRITE),
    )


def _together(days: Sequence[Day], size: int) -> Iterator[Day]:
    """Give so many days together as one, which is named after the first of them."""
    first = len(days) % size  # the last bar is whole, and the first one may have fewer days
    for end in range(first or size, len(days) + 1, size):
        some = days[max(0, end - size) : end]
        yield Day(some[0].date, sum(day.questions for day in some), sum(day.declined for day in some))


def _name_short(day: date) -> str:
    return f"{day:%b} {day.day}"


USAGE = (show_usage_page,)
"""The routes of this module."""
