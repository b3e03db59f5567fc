"""What a page of a business's website needs so that the widget shows there: read from its headers and its markup.

It asks the same questions as a browser: is the script's line there, may the script run, may the frame be shown, and
is the website one of those that the agent allows?
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import SplitResult, urljoin, urlsplit

_PORTS = {"http": 80, "https": 443}
_SANDBOX = ("allow-scripts", "allow-same-origin", "allow-forms", "allow-popups")
_SCRIPT_SOURCES = ("script-src-elem", "script-src", "default-src")
_FRAME_SOURCES = ("frame-src", "child-src", "default-src")
_POLICY, _REPORT_ONLY = "content-security-policy", "content-security-policy-report-only"


@dataclass(frozen=True)
class Script:
    """A script element of a page that loads something."""

    address: str
    nonce: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HostPage:
    """A page of a website, as far as it matters here."""

    url: str
    """Where it is, after redirects; empty for a file."""
    policies: Sequence[str] = ()
    """Its content security policies, from headers and from its markup."""
    reported: Sequence[str] = ()
    """Policies that are only reported, and stop nothing."""
    embedder_policy: str = ""
    """Its Cross-Origin-Embedder-Policy."""
    scripts: Sequence[Script] = ()

    @property
    def origin(self) -> str:
        """Its scheme, host and port as a browser writes them; empty for a file."""
        return origin_of(self.url)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    is_fine: bool
    what: str
    add: str = ""
    """What to write, and where; empty where nothing is missing."""


def script_line(address: str) -> str:
    """Return the line that puts the widget on a page; the address is the tenant's, such as https://host/t/acme."""
    return f'<script src="{address}/widget.js" async></script>'


def read_page(url: str, headers: Sequence[tuple[str, str]], markup: str) -> HostPage:
    """Return what matters of a page."""
    found = _Markup(url)
    found.feed(markup)
    named = [(name.lower(), value) for name, value in headers]
    # One header may hold several policies, parted by commas; each of them applies.
    policies = [part for name, value in named if name == _POLICY for part in value.split(",")]
    return HostPage(
        url=url,
        policies=[text for text in (*policies, *found.policies) if text.strip()],
        reported=[value for name, value in named if name == _REPORT_ONLY],
        embedder_policy=next((value for name, value in named if name == "cross-origin-embedder-policy"), ""),
        scripts=found.scripts,
    )


def check_page(page: HostPage, address: str, websites: Sequence[str]) -> list[Finding]:
    """Say what a page has and lacks to show the widget of the tenant at an address."""
    script = next((one for one in page.scripts if _is_widget(one.address, address)), None)
    findings = [_check_line(script, address), _check_website(page, websites)]
    findings += _check_attributes(script)
    for number, text in enumerate(page.policies, 1):
        name = "The content security policy" if len(page.policies) == 1 else f"Content security policy {number}"
        findings += _check_policy(read_policy(text), name, page, script, address)
    if not page.policies:
        findings.append(Finding(True, "The page has no content security policy, so nothing needs to be added to one."))
    if page.reported:
        findings.append(Finding(True, "A further policy is only reported, and stops nothing."))
    if page.embedder_policy.strip():
        value = page.embedder_policy.partition(";")[0].strip()
        findings.append(Finding(True, f"Cross-Origin-Embedder-Policy is {value}: the widget's frame is made for that."))
    if page.url.startswith("https://") and address.startswith("http://"):
        add = f"Serve Ruma with TLS: browsers load nothing from {address} into a page that came by https."
        findings.append(Finding(False, "The page comes by https and the widget would not.", add))
    return findings


def read_policy(text: str) -> dict[str, list[str]]:
    """Return the directives of a policy with their values; of one that stands twice, the first counts."""
    directives: dict[str, list[str]] = {}
    for part in text.split(";"):
        name, *values = part.split() or [""]
        if name:
            directives.setdefault(name.lower(), values)
    return directives


def allows(sources: Sequence[str], url: str, page_url: str, nonce: str = "") -> bool:
    """Tell whether a directive's sources let an address through, as a browser decides it."""
    lowered = [source.lower() for source in sources]
    if nonce and f"'nonce-{nonce}'" in sources:
        return True
    if "'strict-dynamic'" in lowered:
        return False  # then only nonces and hashes count, and what trusted scripts load themselves
    target, page = urlsplit(url), urlsplit(page_url)
    return any(_matches(source, target, page) for source in sources)


def origin_of(url: str) -> str:
    """Return the scheme, host and port of an address as a browser writes them; empty where it has none."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port in (None, _PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


class _Markup(HTMLParser):
    """Finds the policies and the scripts of a page."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.policies: list[str] = []
        self.scripts: list[Script] = []
        self._base = url

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a policy, a script or the base of the page's addresses."""
        values = {name: value or "" for name, value in attrs}
        if tag == "meta" and values.get("http-equiv", "").lower() == _POLICY:
            # In markup a browser leaves these two out.
            kept = [part for part in values.get("content", "").split(";") if part.split()[:1] != ["sandbox"]]
            self.policies.append(";".join(kept))
        elif tag == "base" and values.get("href"):
            self._base = urljoin(self._base, values["href"])
        elif tag == "script" and values.get("src"):
            self.scripts.append(Script(urljoin(self._base, values["src"].strip()), values.get("nonce", ""), values))


def _check_line(script: Script | None, address: str) -> Finding:
    if script:
        return Finding(True, "The widget's script is on the page.")
    add = f"Write this line before </body>: {script_line(address)}"
    return Finding(False, "The widget's script is not on the page.", add)


def _check_website(page: HostPage, websites: Sequence[str]) -> Finding:
    if not page.origin:
        if websites:
            return Finding(True, f"A file has no address; the agent allows: {', '.join(websites)}.")
        add = "Add the page's website, such as https://www.example.com, to the agent's allowed websites."
        return Finding(False, "The agent allows no website yet.", add)
    if page.origin in websites:
        return Finding(True, f"The website {page.origin} is allowed.")
    add = f"Add exactly this to the agent's allowed websites: {page.origin}"
    return Finding(False, f"The website {page.origin} is not allowed to show the agent.", add)


def _check_attributes(script: Script | None) -> list[Finding]:
    if script is None:
        return []
    reasons = {
        "integrity": "the script changes with the agent's settings, so a fixed hash would stop it",
        "crossorigin": "the script is served to be loaded the usual way, and to no other origin's code",
    }
    return [
        Finding(False, f"The script's tag has the attribute {name}.", f"Take {name} off the tag: {reason}.")
        for name, reason in reasons.items()
        if name in script.attributes
    ]


def _check_policy(
    policy: Mapping[str, list[str]], name: str, page: HostPage, script: Script | None, address: str
) -> list[Finding]:
    origin, nonce = origin_of(address), script.nonce if script else ""
    findings = []
    for what, names, url, secret in (
        ("run the widget's script", _SCRIPT_SOURCES, f"{address}/widget.js", nonce),
        ("show the widget's frame", _FRAME_SOURCES, f"{address}/widget", ""),
    ):
        directive = next((one for one in names if one in policy), None)
        if directive is None or allows(policy[directive], url, page.url, secret):
            findings.append(Finding(True, f"{name} lets the page {what}."))
        else:
            add = _what_to_add(directive, names, policy[directive], origin)
            findings.append(Finding(False, f"{name} does not let the page {what}.", add))
    missing = [flag for flag in _SANDBOX if "sandbox" in policy and flag not in policy["sandbox"]]
    if missing:
        findings.append(Finding(False, f"{name} puts the page in a sandbox.", f"Add to sandbox: {' '.join(missing)}"))
    return findings


def _what_to_add(directive: str, names: Sequence[str], sources: Sequence[str], origin: str) -> str:
    nonces = any(source.lower().startswith("'nonce-") for source in sources)
    if "'strict-dynamic'" in [source.lower() for source in sources]:
        say = 'Write the page\'s nonce into the tag: <script nonce="…" src=…>'
        return say if nonces else f"{directive} has 'strict-dynamic' and no nonce: add a nonce, to it and to the tag."
    if directive != "default-src":
        instead = " (in place of 'none')" if [source.lower() for source in sources] == ["'none'"] else ""
        return f"Add to {directive}: {origin}{instead}"
    # Beside a directive of its own default-src says nothing any more, so what it allowed must be said again.
    own = "script-src" if names is _SCRIPT_SOURCES else "frame-src"
    kept = [source for source in sources if source.lower() != "'none'"]
    return f"Add this directive: {' '.join([own, *kept, origin])}"


def _is_widget(found: str, address: str) -> bool:
    return urlsplit(found)._replace(query="", fragment="").geturl() == f"{address}/widget.js"


_HOST = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?(?P<host>\*|(?:\*\.)?[a-z0-9._-]+|\[[0-9a-f:.]+\])"
    r"(?::(?P<port>\d+|\*))?(?P<path>/[^?#]*)?",
    re.IGNORECASE,
)


def _matches(source: str, target: SplitResult, page: SplitResult) -> bool:
    if source == "*":
        return target.scheme in ("http", "https") or target.scheme == page.scheme
    if source.lower() == "'self'":
        return origin_of(target.geturl()) == origin_of(page.geturl()) != ""
    if source.endswith(":") and source[:-1].isalpha():
        return _scheme_fits(source[:-1].lower(), target.scheme)
    found = _HOST.fullmatch(source)
    if not found:
        return False
    scheme = found["scheme"] or page.scheme or "http"
    return (
        _scheme_fits(scheme.lower(), target.scheme)
        and _host_fits(found["host"].lower(), target.hostname or "")
        and _port_fits(found["port"], target)
        and _path_fits(found["path"] or "", target.path)
    )


def _scheme_fits(wanted: str, scheme: str) -> bool:
    return wanted == scheme or (wanted == "http" and scheme == "https")


def _host_fits(wanted: str, host: str) -> bool:
    if wanted == "*":
        return True
    return host.endswith(wanted[1:]) if wanted.startswith("*.") else host == wanted.strip("[]")


def _port_fits(wanted: str | None, target: SplitResult) -> bool:
    port = target.port or _PORTS.get(target.scheme, 0)
    if wanted is None:
        return port == _PORTS.get(target.scheme)
    return wanted == "*" or int(wanted) == port or (wanted == "80" and port == 443)


def _path_fits(wanted: str, path: str) -> bool:
    return not wanted or path == wanted or (wanted.endswith("/") and path.startswith(wanted))
