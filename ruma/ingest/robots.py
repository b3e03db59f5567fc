"""`robots.txt`: what a website asks programs to leave alone, as RFC 9309 has it."""

from collections.abc import Iterable
from dataclasses import dataclass

NAME = "ruma"
"""How a website names this program in its rules."""

_MOST_RULES = 2_000
_ORDERS = {"noindex": {"noindex"}, "nofollow": {"nofollow"}, "none": {"noindex", "nofollow"}}


@dataclass(frozen=True)
class Robots:
    """The rules of one website for this program."""

    rules: tuple[tuple[str, bool], ...]
    """Patterns of paths, each with whether it may be read."""
    pause: float = 0.0
    """How many seconds it wants between two requests."""
    sitemaps: tuple[str, ...] = ()

    def allows(self, target: str) -> bool:
        """Tell whether a path may be read: the longest pattern that fits decides, and of two, the kinder one."""
        best = max(
            ((len(pattern), is_allowed) for pattern, is_allowed in self.rules if _fits(pattern, target)), default=None
        )
        return best is None or best[1] or target == "/robots.txt"


def read_robots(text: str) -> Robots:
    """Return the rules in a file: those for this program by its name, or else those for all."""
    groups: dict[str, list[tuple[str, bool]]] = {}
    pauses: dict[str, float] = {}
    sitemaps: list[str] = []
    names: list[str] = []
    is_naming = False
    for line in text.splitlines():
        key, _, value = line.partition("#")[0].partition(":")
        key, value = key.strip().lower(), value.strip()
        if key == "user-agent":
            # Several names in a row share the rules that follow.
            names = [*names, value.lower()] if is_naming else [value.lower()]
            groups.setdefault(value.lower(), [])
        elif key in ("allow", "disallow") and value:
            for name in names:
                if len(groups[name]) < _MOST_RULES:
                    groups[name].append((value, key == "allow"))
        elif key == "crawl-delay":
            pauses.update(dict.fromkeys(names, _seconds(value)))
        elif key == "sitemap" and value:
            sitemaps.append(value)
        if key:
            is_naming = key == "user-agent"
    name = NAME if NAME in groups else "*"
    return Robots(tuple(groups.get(name, ())), pauses.get(name, 0.0), tuple(sitemaps[:20]))


def read_orders(texts: Iterable[str]) -> set[str]:
    """Return what a page asks of programs, of `noindex` and `nofollow`, by its robots tags or `X-Robots-Tag` headers.

    What a header says to another program by its name, as in `otherbot: noindex`, does not count.
    """
    orders: set[str] = set()
    for text in texts:
        name, colon, said = text.lower().partition(":")
        if colon and name.strip() not in (NAME, *_ORDERS):
            continue
        for word in (said if colon and name.strip() == NAME else text.lower()).split(","):
            orders |= _ORDERS.get(word.strip(), set())
    return orders


def _fits(pattern: str, target: str) -> bool:
    """Tell whether a pattern fits the beginning of a path; * is anything, and $ at its end is the path's.

    Each piece is looked for once, from the left: no pattern takes long, whoever wrote it.
    """
    is_whole = pattern.endswith("$")
    first, *pieces = pattern.removesuffix("$").split("*")
    if not target.startswith(first):
        return False
    at = len(first)
    if is_whole and not pieces:
        return at == len(target)
    for place, piece in enumerate(pieces):
        if is_whole and place == len(pieces) - 1:
            return target.endswith(piece) and len(target) - len(piece) >= at
        found = target.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def _seconds(value: str) -> float:
    try:
        return max(0.0, min(float(value), 3600.0))
    except ValueError:
        return 0.0
