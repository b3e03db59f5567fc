"""The words that visitors agree to, and what a browser holds. Both stand here once, for the pages and the policy."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from ruma.tenant.conversing.consents import Choice, Purpose

TextName = Literal["keep", "analytics", "person"]
TEXT_NAMES: tuple[TextName, ...] = get_args(TextName)
_FALLBACK = "en"


@dataclass(frozen=True)
class ConsentText:
    """The words in force for something that visitors choose."""

    name: TextName
    version: str
    """Such as `keep-1`; it is stored with each consent."""
    words: str


@dataclass(frozen=True)
class Stored:
    """One thing that a browser may hold."""

    name: str
    """Its name; {tenant} stands for the tenant's name in it."""
    place: Literal["cookie", "localStorage", "sessionStorage"]
    who: Literal["member", "visitor"]
    where: str
    """On which of Ruma's pages it is made."""
    purpose: str
    kept: str
    """How long the browser holds it."""
    is_essential: bool
    """Whether the page cannot do without; else it is there only after its visitor chose so."""


STORAGE: tuple[Stored, ...] = (
    Stored(
        "__Host-ruma-{tenant}",
        "cookie",
        "member",
        "the members' pages, from signing in on",
        "Keeps a member signed in. It holds a random number and nothing about the member.",
        "until signing out; the server ends it after 30 minutes without use and after 12 hours in any case",
        True,
    ),
    Stored(
        "htmx-current-path-for-history",
        "sessionStorage",
        "member",
        "the members' pages",
        "Holds the address of the page that is open, so that the browser's Back button works.",
        "until the tab is closed",
        True,
    ),
    Stored(
        "ruma-conversation:/t/{tenant}",
        "localStorage",
        "visitor",
        "the widget, with the first message of a visitor whose conversation is kept",
        "Holds the secret of that conversation, so that the visitor finds it again on another day.",
        "until the visitor deletes the conversation, starts over, or takes the consent back",
        False,
    ),
    Stored(
        "ruma-conversation:/t/{tenant}:person",
        "localStorage",
        "visitor",
        "the widget, once the visitor asked for a person",
        "Holds that a reply is awaited, so that the widget looks for it.",
        "as long as the secret of the conversation",
        False,
    ),
    Stored(
        "ruma-conversation:/t/{tenant}",
        "sessionStorage",
        "visitor",
        "the chat page, and the widget where the conversation is not kept, with the first message of a visitor",
        "Holds the secret of the conversation, so that it goes on when the page is loaded anew, or another one of the "
        "website.",
        "until the tab is closed, or the visitor deletes the conversation or starts over",
        True,
    ),
    Stored(
        "ruma-conversation:/t/{tenant}:person",
        "sessionStorage",
        "visitor",
        "the chat page, once the visitor asked for a person",
        "Holds that a reply is awaited, so that the page looks for it.",
        "as long as the secret of the conversation",
        False,
    ),
)
"""Everything that any page of Ruma puts into a browser. A test compares it with what browsers hold."""


@cache
def read_texts() -> dict[TextName, list[dict[str, str]]]:
    """Return every version of every text that visitors could agree to, the oldest first, by language.

    A version that was in use is never changed: what somebody agreed to can be read here for ever. A new text is
    added at the end of its list.
    """
    file = Path(__file__).with_name("consent_texts.json")
    texts: dict[TextName, list[dict[str, str]]] = json.loads(file.read_text(encoding="utf-8"))
    return texts


def consent_text(name: TextName, language: str = _FALLBACK) -> ConsentText:
    """Return the text in force, in a language that there are words for, else in English."""
    versions = read_texts()[name]
    return ConsentText(name, f"{name}-{len(versions)}", versions[-1].get(language, versions[-1][_FALLBACK]))


def old_text(version: str, language: str) -> str:
    """Return the words of a version such as `keep-1`, as somebody read them; empty where there is no such version."""
    name, _, number = version.rpartition("-")
    texts: dict[str, list[dict[str, str]]] = {str(key): value for key, value in read_texts().items()}
    versions = texts.get(name, [])
    if not number.isdigit() or not 1 <= int(number) <= len(versions):
        return ""
    found = versions[int(number) - 1]
    return found.get(language, found[_FALLBACK])


def choose(purpose: Purpose, is_given: bool, language: str, *, text: TextName | None = None) -> Choice:
    """Return a visitor's choice with the version of the words that were shown."""
    shown = consent_text(text or purpose, language)
    return Choice(purpose, is_given, shown.version, language if language in read_texts()[shown.name][-1] else _FALLBACK)
