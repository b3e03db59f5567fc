"""The tenant's one agent: how it speaks and how it answers."""

import json
import re
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ruma.errors import InputError
from ruma.tenant.audit import note
from ruma.tenant.language_codes import LANGUAGE_CODES
from ruma.tenant.origins import parse_origin
from ruma.tenant.tenant import Tenant

MODES = ("auto", "quote", "write")
TONES = ("friendly", "formal", "plain")
STRICTNESS = ("lenient", "balanced", "strict")
THEMES = ("auto", "light", "dark")
POSITIONS = ("right", "left")
MOST_WEBSITES, MOST_QUESTIONS = 50, 10
_LONGEST = 2000
_CHOICES = {"mode": MODES, "tone": TONES, "strictness": STRICTNESS, "theme": THEMES, "position": POSITIONS}
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_LISTS, _SWITCHES = ("questions", "websites"), ("is_published", "offers_person")


@dataclass(frozen=True)
class Agent:
    """The agent as it is set up."""

    name: str = "Assistant"
    """What visitors call it."""

    greeting: str = "Hello! Ask me anything about our services."
    """The first thing that a visitor reads."""

    instructions: str = ""
    """How it should speak, for a language model that writes the answers."""

    decline: str = "I could not find this in the documents."
    """What it says when no document supports an answer."""

    mode: str = "auto"
    """`quote`, `write`, or `auto`: write where the model has passed the grounding check, else quote."""

    model: str = ""
    """The language model's name; empty takes the operator's."""

    questions: tuple[str, ...] = ()
    """Questions that a visitor may pick to begin with."""

    tone: str = "friendly"
    """How a language model that writes the answers should sound: `friendly`, `formal` or `plain`."""

    language: str = ""
    """The language (ISO 639-1) that it answers and speaks in; empty takes the visitor's."""

    strictness: str = "balanced"
    """How sure the evidence must be before the agent answers: `lenient`, `balanced` or `strict`."""

    accent: str = "#0d6b5b"
    """The colour of its buttons and marks, as #rrggbb."""

    theme: str = "auto"
    """`light`, `dark`, or `auto`: as the visitor's browser prefers."""

    position: str = "right"
    """The side of the website on which the widget's button stands."""

    websites: tuple[str, ...] = ()
    """The origins whose pages may show the widget, matched exactly; none by default."""

    is_published: bool = False
    """Whether the chat page is open to everyone; else it is for members."""

    offers_person: bool = True
    """Whether visitors may ask for a person."""


def read_agent(tenant: Tenant) -> Agent:
    """Return the tenant's agent."""
    names = [field.name for field in fields(Agent)]
    with tenant.reading() as db:
        row = db.execute(f"select {', '.join(names)} from agent").fetchone()
    values: dict[str, Any] = dict(zip(names, row, strict=True))
    lists = {name: tuple(json.loads(values[name])) for name in _LISTS}
    return Agent(**{**values, **lists, **{name: bool(values[name]) for name in _SWITCHES}})


def change_agent(tenant: Tenant, **changes: Any) -> Agent:
    """Change some of the agent's settings and return it as it is then.

    Raises:
        InputError: There is no such setting, or it cannot have that value.
    """
    before = read_agent(tenant)
    values = asdict(before)
    unknown = changes.keys() - values.keys()
    if unknown:
        raise InputError(f"An agent has no setting {', '.join(sorted(unknown))}.", hint=f"It has: {', '.join(values)}.")
    agent = _normalised(Agent(**{**values, **changes}))
    _check(agent)
    with tenant.writing() as db:
        db.table("agent").update(1, _row(agent))
        changed = [name for name in values if getattr(agent, name) != getattr(before, name)]
        if changed:
            note(db, "agent.changed", settings=" ".join(changed))
    return agent


def write_first_agent(tenant: Tenant) -> None:
    """Store the agent that a new tenant begins with."""
    with tenant.writing() as db:
        db.table("agent").insert({"id": 1, **_row(Agent())})
        note(db, "tenant.created")


def _row(agent: Agent) -> dict[str, Any]:
    return {**asdict(agent), **{name: json.dumps(getattr(agent, name)) for name in _LISTS}}


def _normalised(agent: Agent) -> Agent:
    """Return the agent with what has several spellings in one."""
    questions = (one.strip() for one in agent.questions)
    return replace(
        agent,
        accent=agent.accent.strip().lower(),
        language=agent.language.strip().lower(),
        questions=tuple(dict.fromkeys(one for one in questions if one)),
        websites=tuple(dict.fromkeys(parse_origin(one) for one in agent.websites if one.strip())),
    )


def _check(agent: Agent) -> None:
    for name, choices in _CHOICES.items():
        if (value := getattr(agent, name)) not in choices:
            raise InputError(
                f"An agent's {name} cannot be {str(value)[:80]!r}.", hint=f"It can be: {', '.join(choices)}."
            )
    for name in ("name", "greeting", "decline"):
        if not getattr(agent, name).strip():
            raise InputError(f"The agent's {name} cannot be empty.")
    if not _COLOUR.fullmatch(agent.accent):
        raise InputError(f"{agent.accent[:80]!r} is not a colour.", hint="Write it as #rrggbb, for example #0d6b5b.")
    if agent.language and agent.language not in LANGUAGE_CODES:
        raise InputError(
            f"{agent.language[:80]!r} is not the code of a language.",
            hint="Two letters, as in en, de or fr; empty takes the visitor's.",
        )
    for name, most in (("questions", MOST_QUESTIONS), ("websites", MOST_WEBSITES)):
        if len(getattr(agent, name)) > most:
            raise InputError(f"An agent can have {most} {name} at most.")
    for name, value in asdict(agent).items():
        texts = value if isinstance(value, tuple) else (value,)
        if any(isinstance(text, str) and len(text) > _LONGEST for text in texts):
            raise InputError(f"The agent's {name} can have at most {_LONGEST:,} characters.")
