"""Where the content of a web page is: what to read of it, and what is navigation."""

import re
from typing import TYPE_CHECKING

from ruma.ingest.parsed import clean_line

if TYPE_CHECKING:
    from lxml.html import HtmlElement  # type: ignore[import-untyped]

_NAVIGATION_ROLES = {"navigation", "search", "banner", "contentinfo", "dialog", "menu", "menubar", "toolbar"}
_NAVIGATION_WORDS = re.compile(
    r"(?:^|[\s_-])(?:nav|navbar|navigation|menu|breadcrumbs?|sidebar|toc|pagination|pager|footer|cookie|consent|share"
    r"|social|related|skip|modal|edit)(?=$|[\s_-])",
    re.I,
)
_SKIP_LINK = re.compile(r"skip (?:to|navigation)\b|back to top$|edit (?:this page|on \w+)$", re.I)
_LEAST_MAIN = 0.2
"""A `<main>` with less of the page's words than this is taken for a mistake."""

_MANY_LINKS = 4
_ONLY_LINKS = 0.8
_MOSTLY_LINKS = 0.5


def find_content(root: "HtmlElement") -> "tuple[str, list[HtmlElement]]":
    """Return a page's title, and the elements that hold its content, without navigation.

    The tree is changed: what is no content is taken out of it.
    """
    body = root.find("body")
    if body is None:
        body = root
    title = clean_line(root.findtext(".//head/title") or "")
    for name in ("script", "style", "template", "noscript"):
        for element in list(body.iter(name)):
            _drop(element)
    mains = _find_mains(body)
    for content in mains:
        _prune(content, is_main=content is not body)
    headings = [heading for content in mains for heading in content.iter("h1")]
    if len(headings) == 1:
        title = clean_line(headings[0].text_content()).rstrip("¶#§ ") or title
    return title, mains


def _find_mains(body: "HtmlElement") -> "list[HtmlElement]":
    total = _length(body)
    for path in (".//main|.//*[@role='main']", ".//article"):
        found = [one for one in body.xpath(path) if one.get("hidden") is None]
        outer = [one for one in found if not any(above in found for above in one.iterancestors())]
        if outer and sum(map(_length, outer)) >= _LEAST_MAIN * total:
            return outer
    return [body]


def _prune(content: "HtmlElement", *, is_main: bool) -> None:
    for element in list(content.iterdescendants()):
        if isinstance(element.tag, str) and _is_navigation(element, is_main=is_main):
            _drop(element)


def _is_navigation(element: "HtmlElement", *, is_main: bool) -> bool:
    tag, role = element.tag, element.get("role")
    if role in _NAVIGATION_ROLES or tag == "nav":
        return True
    if tag in ("header", "footer", "aside", "form"):
        return _is_margin(element, is_main=is_main)
    if tag == "button":
        return not any(
            above.tag in ("h1", "h2", "h3", "h4", "h5", "h6", "summary", "dt") for above in element.iterancestors()
        )
    if tag == "a":
        return bool(_SKIP_LINK.match(clean_line(element.text_content()[:60])))
    if tag in ("ul", "ol", "div", "section", "p", "table"):
        return _is_link_list(element, is_main=is_main)
    return False


def _is_margin(element: "HtmlElement", *, is_main: bool) -> bool:
    """Tell whether a header, footer, aside or form is beside the content and not part of it."""
    if element.tag == "form":
        # Some systems wrap the whole page in one form.
        return next(element.iter("p", "h1", "h2", "table", "main"), None) is None
    if element.tag == "footer":
        return True
    if element.tag == "header":
        return not is_main and next(element.iter("h1"), None) is None
    return not is_main or _link_share(element)[1] >= _MOSTLY_LINKS


def _is_link_list(element: "HtmlElement", *, is_main: bool) -> bool:
    names = f"{element.get('class') or ''} {element.get('id') or ''}"
    is_named = bool(_NAVIGATION_WORDS.search(names))
    if is_main and not is_named:
        return False
    links, share = _link_share(element)
    if is_named:
        return share >= _MOSTLY_LINKS and links > 0
    return links >= _MANY_LINKS and share >= _ONLY_LINKS


def _link_share(element: "HtmlElement") -> tuple[int, float]:
    """Return how many links an element has, and which share of its text they hold."""
    links = list(element.iter("a"))
    return len(links), sum(map(_length, links)) / max(1, _length(element))


def _length(element: "HtmlElement") -> int:
    return sum(len(part.strip()) for part in element.itertext())


def _drop(element: "HtmlElement") -> None:
    if element.getparent() is not None:
        element.drop_tree()
