"""The privacy policy as text, as Markdown and as a page of HTML that stands alone."""

import re
from html import escape
from typing import Literal

from ruma.privacy.policy_parts import Policy, Statement

Format = Literal["text", "markdown", "html"]
FORMATS: tuple[Format, ...] = ("text", "markdown", "html")

_STYLE = (
    "body{font:1rem/1.6 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0;"
    "border-bottom:1px solid #8886}"
)


def write_out(policy: Policy, form: Format) -> str:
    """Return the policy in one of the formats, with its date."""
    if form == "html":
        return as_html(policy)
    text = f"{as_markdown(policy)}\nIn force since {policy.version.since[:10]} (version {policy.version.id}).\n"
    return text if form == "markdown" else _as_text(text)


def as_markdown(policy: Policy) -> str:
    """Return the policy as Markdown without its date: what versions are compared by."""
    lines = [f"# {_line(policy.title)}", ""]
    for section in policy.sections:
        lines += [f"## {section.title}", ""]
        for statement in section.statements:
            lines += [_line(statement.text), "", *_markdown_rows(statement)]
    return "\n".join(lines)


def as_html(policy: Policy) -> str:
    """Return the policy as one page that loads nothing."""
    parts = [
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(policy.title)}</title>',
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>',
        f"<h1>{escape(policy.title)}</h1>",
        f"<p>In force since {policy.version.since[:10]} (version {policy.version.id}).</p>",
    ]
    for section in policy.sections:
        parts.append(f"<h2>{escape(section.title)}</h2>")
        for statement in section.statements:
            parts.append(f"<p>{escape(statement.text)}</p>")
            parts += _html_rows(statement)
    return "\n".join([*parts, "</body></html>", ""])


def _html_rows(statement: Statement) -> list[str]:
    if not statement.rows:
        return []
    head, *rows = statement.rows
    cells = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    heading = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    return [f"<table><tr>{heading}</tr>", *(f"<tr>{row}</tr>" for row in cells), "</table>"]


def _markdown_rows(statement: Statement) -> list[str]:
    if not statement.rows:
        return []
    rows = [f"| {' | '.join(_line(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in statement.rows]
    return [rows[0], f"|{' --- |' * len(statement.rows[0])}", *rows[1:], ""]


def _as_text(markdown: str) -> str:
    text = re.sub(r"^#+ (.*)$", lambda found: f"{found[1]}\n{'-' * len(found[1])}", markdown, flags=re.MULTILINE)
    text = re.sub(r"^\|( --- \|)+\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^\| (.*) \|$", lambda found: "  " + found[1].replace(" | ", "; "), text, flags=re.MULTILINE)
    return re.sub(r"\\([#>*+|<\[\\-])", r"\1", text)


def _line(text: str) -> str:
    # What a business calls itself makes no heading, list, table, link or picture, and no markup of the policy.
    return re.sub(r"^(?=[#>*+|-])|(?=[<\[\\])", r"\\", " ".join(text.split()))
