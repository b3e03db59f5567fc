"""What a visitor reads around the answers, in each language that there is a file of words for."""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

FALLBACK = "en"

Say = Callable[..., str]
"""Gives the words of that name, with the values that belong into them."""


@cache
def read_words() -> dict[str, dict[str, str]]:
    """Return the words of every language, by its code (ISO 639-1)."""
    files = sorted((Path(__file__).parent / "wording").glob("*.json"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


def choose_language(*wanted: str) -> str:
    """Return the first of some language tags, such as `de-AT`, that there are words for; else English."""
    codes = (tag.strip().replace("_", "-").partition("-")[0].lower() for tag in wanted)
    return next((code for code in codes if code in read_words()), FALLBACK)


def accepted_languages(header: str) -> list[str]:
    """Return the languages of an `Accept-Language` header, the most wanted first."""
    found: list[tuple[float, str]] = []
    for part in header[:1000].split(","):
        tag, _, rest = part.partition(";")
        weight = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", rest)
        if re.fullmatch(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*", tag.strip()):
            found.append((float(weight[1]) if weight else 1.0, tag.strip()))
    return [tag for weight, tag in sorted(found, key=lambda pair: -pair[0]) if weight > 0]


def speak(language: str) -> Say:
    """Return a function that gives words in a language."""
    words = read_words()[language]

    def say(name: str, /, **values: object) -> str:
        return fill(words[name], values)

    return say


def fill(text: str, values: Mapping[str, object]) -> str:
    """Return a text with `{name}` replaced by the value of that name; braces in values mean nothing."""
    return re.sub(r"\{(\w+)\}", lambda match: str(values[match[1]]), text)
