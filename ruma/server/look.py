"""The colours of the pages for visitors, made from a tenant's accent so that every text can be read.

A business picks one colour. It becomes the fill of the buttons as it is, wherever it can be told from the page; as
the colour of words it is darkened or lightened until its contrast is 4.5 to 1.
"""

import colorsys
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from ruma.errors import InputError

Colour = tuple[float, float, float]
"""Red, green and blue, 0 to 1."""

WHITE: Colour = (1.0, 1.0, 1.0)
BLACK: Colour = (0.0, 0.0, 0.0)
WORDS = 4.55
"""The contrast that words need, 4.5, with room for rounding."""


@dataclass(frozen=True)
class Surface:
    """What the accent stands on, in a light or a dark page: as ruma.css has it."""

    page: Colour
    raised: Colour
    sunken: Colour
    away: Colour
    """Black or white: towards it the accent moves to be read better."""
    tint_share: float
    least_fill: float
    """The contrast that a button's fill needs to be seen on the page."""


def read_colour(text: str) -> Colour:
    """Return a colour that is written as #rrggbb.

    Raises:
        InputError: It is not.
    """
    found = re.fullmatch(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})", text)
    if not found:
        raise InputError(f"{text[:80]!r} is no colour.", hint="Write it as #rrggbb, such as #0d6b5b.")
    return (int(found[1], 16) / 255, int(found[2], 16) / 255, int(found[3], 16) / 255)


def write_colour(colour: Colour) -> str:
    """Return a colour as #rrggbb."""
    return "#" + "".join(f"{round(part * 255):02x}" for part in colour)


def contrast(one: Colour, other: Colour) -> float:
    """Return the contrast of two colours as WCAG 2.2 measures it: 1 to 21."""
    low, high = sorted((_light(one), _light(other)))
    return (high + 0.05) / (low + 0.05)


def mix(colour: Colour, into: Colour, share: float) -> Colour:
    """Return a colour with a share, 0 to 1, of another mixed into it."""
    red, green, blue = ((1 - share) * a + share * b for a, b in zip(colour, into, strict=True))
    return (red, green, blue)


LIGHT = Surface(read_colour("#fbfaf8"), WHITE, read_colour("#f1efea"), BLACK, 0.885, 1.35)
DARK = Surface(read_colour("#171716"), read_colour("#21211f"), read_colour("#272725"), WHITE, 0.8, 2.2)


@lru_cache(maxsize=1000)
def colours_on(surface: Surface, accent: Colour) -> Mapping[str, str]:
    """Return the custom properties of ruma.css that come from the accent, for one kind of page."""
    tint = mix(accent, surface.page, surface.tint_share)
    behind = (surface.page, surface.raised, surface.sunken, tint)
    words = _reaching(accent, behind, surface.away, WORDS)
    strong = _reaching(mix(words, surface.away, 0.2), behind, surface.away, WORDS)
    fill = _reaching(accent, (surface.page,), surface.away, surface.least_fill)
    on_fill = readable_on(fill)
    # Towards black under white words, towards white under black ones: so the words are read as well as before.
    fill_strong = mix(fill, BLACK if on_fill == WHITE else WHITE, 0.18)
    found = {
        "accent": words,
        "accent-strong": strong,
        "on-accent": readable_on(words),
        "tint": tint,
        "fill": fill,
        "fill-strong": fill_strong,
        "on-fill": on_fill,
    }
    return {name: write_colour(colour) for name, colour in found.items()}


def readable_on(colour: Colour) -> Colour:
    """Return white, or black where that is read better: one of them always reaches 4.5 to 1."""
    return WHITE if contrast(WHITE, colour) >= WORDS else BLACK


def write_look(accent: str, theme: str) -> str:
    """Return the style sheet of a tenant: its colours in light and dark, and which of the two is shown."""
    light, dark = (colours_on(surface, read_colour(accent)) for surface in (LIGHT, DARK))
    scheme = {"light": "light", "dark": "dark"}.get(theme, "light dark")
    lines = [f"  --{name}: light-dark({light[name]}, {dark[name]});" for name in light]
    return "\n".join([":root {", f"  color-scheme: {scheme};", *lines, "}", ""])


def _reaching(colour: Colour, behind: tuple[Colour, ...], away: Colour, least: float) -> Colour:
    # The hue stays, so it is still the business's colour.
    hue, lightness, saturation = colorsys.rgb_to_hls(*colour)
    for step in range(101):
        moved = colorsys.hls_to_rgb(hue, lightness + (away[0] - lightness) * step / 100, saturation)
        if all(contrast(moved, one) >= least for one in behind):
            return moved
    return away


def _light(colour: Colour) -> float:
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
