"""What a language model is told: the agent's fixed part first, then the evidence and the question.

The fixed part is the same for every question of an agent, so the model process reads it once. Whatever comes
from a document or a visitor stands in the user's turn, where it is material and never an instruction.
"""

from collections.abc import Sequence

from ruma.chat.evidence import Citation
from ruma.models.generator import Turn
from ruma.models.grounding import INSTRUCTIONS, build_turns
from ruma.tenant.agents import Agent

WRITTEN_TOKENS = 300
"""The longest answer that is written: evidence of a few sentences supports no longer one."""


def write_turns(agent: Agent, question: str, evidence: Sequence[Citation]) -> list[Turn]:
    """Return the conversation that lets a model answer a question from numbered evidence."""
    placed = [_with_place(citation) for citation in evidence]
    _, asked = build_turns(placed, question)
    own = f"\nYou are {agent.name}. {agent.instructions}".rstrip()
    return [Turn("system", INSTRUCTIONS + own), asked]


def _with_place(citation: Citation) -> str:
    """Return a quote with its headings: "It costs 5 €" says little without "Delivery"."""
    places = " › ".join(part for part in (citation.title, citation.heading) if part)
    quote = " ".join(citation.quote.split())
    return f"({places}) {quote}" if places else quote
