"""An export's pages for people: plain HTML that opens from a folder, with no script and nothing from elsewhere.

Everything that was stored goes through `tag`, which escapes it; markup comes from nowhere else.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from ruma.privacy.names import document_page
from ruma.tenant.copying.contents import Row
from ruma.tenant.profile import without_controls

SPEAKERS: dict[str, str] = {"visitor": "Visitor", "agent": "Agent", "person": "Person"}
CHANNELS: dict[str, str] = {
    "page": "chat page",
    "widget": "website",
    "api": "API",
    "terminal": "terminal",
    "trial": "members' trial",
}

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.55 system-ui, sans-serif; }
body { max-width: 48rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; }
p { margin: .4rem 0; } nav { margin-bottom: 1.5rem; }
.soft { opacity: .75; font-size: .9rem; } .text { white-space: pre-wrap; }
.said { border-left: 3px solid #8886; padding: .1rem 0 .1rem .9rem; margin: .9rem 0; }
.said.visitor { border-color: #0d6b5b; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid #8884; }
td { min-width: 3rem; white-space: pre-wrap; } th { white-space: nowrap; }
"""
_TITLES = {
    "agent": "Agent",
    "api_key": "API keys",
    "audit": "Audit log",
    "billing": "Customer number at Stripe",
    "consent_setting": "Whether conversations are kept",
    "originals": "Original files",
    "policy_version": "Privacy policy, each version",
    "profile": "Business",
    "reply": "Replies to visitors",
    "retention": "Plan",
    "terms_acceptance": "Terms that members accepted",
}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


class Html(str):
    """Markup that was made here."""

    __slots__ = ()


def tag(name: str, *content: str, **attributes: str) -> Html:
    """Return an element. Content that is not markup of ours is escaped, and so is every attribute."""
    inside = "".join(one if isinstance(one, Html) else escape(without_controls(one)) for one in content)
    named = "".join(f' {key.rstrip("_")}="{escape(without_controls(value))}"' for key, value in attributes.items())
    return Html(f"<{name}{named}>{inside}</{name}>\n")


def page(title: str, *content: str, depth: int = 1) -> str:
    """Return a whole page; *depth* is how many folders it lies below the index."""
    up = "../" * depth
    head = Html(
        f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    ) + tag("title", title)
    back = tag("nav", tag("a", "All pages of this export", href=f"{up}index.html")) if depth else Html("")
    body = tag("body", back, tag("main", tag("h1", title), *content))
    return f"<!doctype html>\n{tag('html', tag('head', Html(head), Html(f'<style>{_STYLE}</style>')), body, lang='en')}"


def conversations_page(number: int, conversations: Iterable[Row]) -> str:
    """Return a page with conversations, each with everything that was said."""
    return page(f"Conversations, page {number}", *map(_conversation, conversations))


def document_text_page(row: Row) -> str:
    """Return a document's page with its whole text as it was read."""
    text = "".join(chunk["text"] for chunk in row["chunks"])
    about = f"{row['name']} · {row['media_type']} · added {row['added_at']}"
    return page(row["title"] or row["name"], tag("p", about, class_="soft"), tag("p", text, class_="text"))


def records_page(name: str, number: int, rows: Sequence[Row]) -> str:
    """Return a page with rows of a table, as they are stored."""
    columns = list(rows[0])
    head = tag("tr", *(tag("th", column.replace("_", " "), scope="col") for column in columns))
    body = [tag("tr", *(tag("td", _shown(row[column])) for column in columns)) for row in rows]
    return page(f"{title_of(name)}, page {number}", tag("div", tag("table", head, *body), class_="wide"))


def originals_page(originals: Sequence[Row]) -> str:
    """Return the table that says which original is which document's."""
    head = tag("tr", *(tag("th", one, scope="col") for one in ("File", "Name", "Size in bytes")))
    rows = [
        tag(
            "tr",
            tag("td", tag("a", one["file"], href=one["file"]) if one["file"] else one["problem"]),
            tag("td", one["name"]),
            tag("td", str(one["size_bytes"])),
        )
        for one in originals
    ]
    return page("Original files", tag("div", tag("table", head, *rows), class_="wide"), depth=0)


def index_page(
    about: Mapping[str, Any], pages: Mapping[str, Sequence[tuple[str, str]]], left_out: Mapping[str, str]
) -> str:
    """Return the first page: what is in the export, where, and what is not.

    Args:
        about: What `export.json` says.
        pages: By what they show, the address and the name of each page.
        left_out: What is not in it, and why.
    """
    whose = {"tenant": "Everything of", "member": "A member's data at", "visitor": "A visitor's data at"}
    lists = [
        part
        for name, listed in pages.items()
        if listed
        for part in (tag("h2", f"{title_of(name)} ({about['counts'].get(name, len(listed))})"), _links(listed))
    ]
    missing = [tag("tr", tag("td", name), tag("td", why)) for name, why in left_out.items()]
    return page(
        f"{whose[about['scope']['kind']]} {about['tenant']}",
        tag("p", f"Made by Ruma {about['ruma']} on {about['made_at']}.", class_="soft"),
        tag("p", "The same is in the folder data, for programs. This page and those it leads to need no network."),
        *lists,
        *([tag("h2", "Not in this export"), tag("div", tag("table", *missing), class_="wide")] if missing else []),
        depth=0,
    )


def title_of(name: str) -> str:
    """Return what the rows of a table are called."""
    return _TITLES.get(name, name.replace("_", " ").capitalize() + ("" if name.endswith("s") else "s"))


def _links(pages: Sequence[tuple[str, str]]) -> Html:
    return tag("ul", *(tag("li", tag("a", name or "Untitled", href=address)) for address, name in pages))


def _conversation(row: Row) -> Html:
    who = " ".join(filter(None, (row["visitor_name"], row["visitor_email"])))
    where: str = CHANNELS.get(row["channel"], str(row["channel"])) + (f", {row['website']}" if row["website"] else "")
    about = f"{row['started_at']} to {row['last_at']} · {where}" + (f" · {who}" if who else "")
    return tag(
        "section",
        tag("h2", f"Conversation {row['id']}"),
        tag("p", about, class_="soft"),
        *map(_message, row["messages"]),
        id=f"conversation-{row['id']}",
    )


def _message(row: Row) -> Html:
    who: str = SPEAKERS.get(row["role"], str(row["role"])) + (f" ({row['author']})" if row["author"] else "")
    cited = [
        tag("p", f"[{one['number']}] ", _cited(one), Html("") if one["quote"] is None else f" “{one['quote']}”")
        for one in row["citations"]
    ]
    given = row["feedback"]
    opinion = f"Feedback: {'helpful' if given['is_helpful'] else 'not helpful'}. {given['comment']}" if given else ""
    return tag(
        "div",
        tag("p", f"{who}, {row['created_at']}", class_="soft"),
        tag("p", row["text"], class_="text"),
        *([tag("div", *cited, class_="soft")] if cited else []),
        *([tag("p", opinion, class_="soft")] if opinion else []),
        class_=f"said {row['role'] if row['role'] in SPEAKERS else ''}",
    )


def _cited(citation: Row) -> str:
    if citation["document_id"] is None:
        return "a document that is gone"
    place = ", ".join(filter(None, (citation["heading"], f"page {citation['page']}" if citation["page"] else "")))
    title = f"{citation['title']}{f' ({place})' if place else ''}"
    return tag("a", title, href=f"../{document_page(citation['document_id'])}")


def _shown(value: Any) -> str:
    return "" if value is None else str(value)
