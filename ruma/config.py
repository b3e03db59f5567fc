"""The operator's settings: one frozen value, one load order, passed by hand and never global.

Default < `ruma.toml` in the home < environment variable `RUMA_*` < flag of the command.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import platformdirs

from ruma.errors import InputError

KEY_SOURCES = ("auto", "credential", "keyring", "command", "file", "passphrase", "machine")
_CHOICES = {"key_source": KEY_SOURCES, "smtp_security": ("starttls", "tls", "none")}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings in force."""

    home: Path
    """The folder that holds everything that Ruma writes."""

    key_source: str = "auto"
    """Where new tenants' keys are kept; `auto` takes the first that this machine has."""

    key_command: str = ""
    """A command that prints the master key, for the key source `command`."""

    key_file: str = ""
    """A file (mode 0600) that holds the master key, for the key source `file`."""

    embedder: str = "all-MiniLM-L6-v2"
    """The embedding model: the built-in one by its name, or a folder with a sentence-transformers model."""

    model: str = ""
    """The language model of agents that name none; empty takes the first in `ruma models list`."""

    host: str = "127.0.0.1"
    """The address that `ruma serve` listens on."""

    port: int = 8420
    """The port that `ruma serve` listens on."""

    tls_cert: str = ""
    """A file with the certificate that `ruma serve` shows, and those that signed it."""

    tls_key: str = ""
    """A file with the certificate's private key."""

    behind_proxy: str = ""
    """The addresses of the reverse proxies before `ruma serve`, with commas between them."""

    public_url: str = ""
    """What people type to reach `ruma serve`; links are built from it alone."""

    visitor_questions: int = 30
    """Questions a minute that one visitor, or one address, may ask."""

    tenant_questions: int = 3000
    """Questions a minute that may be asked of one tenant's agent in all."""

    smtp_host: str = ""
    """The mail server; empty sends no mail."""

    smtp_port: int = 587
    """The mail server's port."""

    smtp_security: str = "starttls"
    """How the connection to the mail server is kept private: `starttls`, `tls` or `none`."""

    smtp_user: str = ""
    """The name to sign in to the mail server with; empty signs in to none."""

    smtp_password_file: str = ""
    """A file that holds the password for it."""

    mail_from: str = ""
    """The address that mail comes from."""

    offline: bool = False
    """Whether nothing may leave this machine: no mail, and no page fetched to check it."""

    private_networks: str = ""
    """Networks that are not the public internet and whose web pages may be read: an intranet, with commas between."""

    max_site_pages: int = 500
    """How many pages of one website are read."""

    operator_name: str = ""
    """Who runs the server, as the privacy policy names them."""

    operator_contact: str = ""
    """How people reach whoever runs the server: an address of mail or of a web page."""

    terms: str = ""
    """The terms of use that members accept: a file with their text, or the address of a page; empty asks for none."""

    terms_version: str = ""
    """Which version of the terms this is; empty tells versions by what `terms` holds."""

    stripe_key_file: str = ""
    """A file that holds Stripe's secret key; empty takes no payments."""

    stripe_webhook_file: str = ""
    """A file that holds the secret with which Stripe signs what it tells this server."""

    stripe_api: str = "https://api.stripe.com"
    """Where Stripe is asked; a program on this machine that stands in for it may be named by http."""

    threads: int = 0
    """Processor threads for the models; 0 takes one for each core."""

    max_file_mb: int = 200
    """The largest file that is read or taken as an upload, in MB."""

    @property
    def tenants_folder(self) -> Path:
        """The folder that holds one directory a tenant."""
        return self.home / "tenants"

    @property
    def keys_folder(self) -> Path:
        """The folder of sealed keys, used where no system keyring is."""
        return self.home / "keys"

    @property
    def models_folder(self) -> Path:
        """The folder of model files, shared by all tenants."""
        return self.home / "models"

    @property
    def takes_payments(self) -> bool:
        """Whether the operator has said how Stripe is asked, and it may be: offline, it is not."""
        return bool(self.stripe_key_file and self.stripe_webhook_file) and not self.offline

    @property
    def thread_count(self) -> int:
        """How many processor threads a model may use: at least 1."""
        return self.threads or len(os.sched_getaffinity(0))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How many days what a tenant stores is kept at most. The operator gives each tenant one."""

    name: str = "standard"

    conversations: int = 180
    """A conversation with its messages and feedback, from its last message on."""

    technical: int = 30
    """Browsers and networks of sessions, failed sign-ins, who handed over an upload."""

    audit: int = 365
    """The audit log and the ledger of connections: a year shows what a member or a program did, and whom it reached."""

    exports: int = 7
    """Files that were made for somebody to fetch: each is a copy of much that is personal."""

    receipts: int = 1095
    """Receipts of erasures and the register of requests: what proves, for three years, that a request was met."""

    price: str = ""
    """What it costs, as owners read it."""

    stripe_price: str = ""
    """Stripe's number of the price that is paid for it; empty for a plan that only the operator gives."""


FREE = "standard"
"""The plan of a tenant that was given no other, and that pays for none."""

KINDS = tuple(field.name for field in fields(Plan) if field.type is int)
"""What a plan says something about, in days."""

LONGEST_PRICE = 60

MOST_DAYS = 3650


def load_plans(home: Path) -> dict[str, Plan]:
    """Return the operator's plans by name, from the tables `[plans.NAME]` of `ruma.toml`; `standard` is always there.

    They are read anew each time, so that a running server keeps what the file promises now.

    Raises:
        InputError: A plan is not understood.
    """
    file = home / "ruma.toml"
    return _read_plans(file, _read_file(file).get("plans", {}))


@dataclass(frozen=True)
class Origin:
    """One setting in force and where it came from."""

    name: str
    value: str
    source: str


def load_settings(flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings in force.

    Raises:
        InputError: A setting is unknown or has a value that cannot be used.
    """
    return Settings(**{name: value for name, (value, _) in _collect(flags, environ).items()})


def explain_settings(flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> list[Origin]:
    """Return every setting in force with the place it came from."""
    return [Origin(name, str(value), source) for name, (value, source) in _collect(flags, environ).items()]


def write_setting(home: Path, name: str, value: str | int | bool) -> None:
    """Write one setting to the home's `ruma.toml`; every other line and comment stays as it is.

    Raises:
        InputError: The file cannot be read or written, or has the setting in a form that must be changed by hand.
    """
    file = home / "ruma.toml"
    wanted = {**_read_file(file), name: value}
    line = f"{name} = {json.dumps(value)}"
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        kept = [one for one in lines if not re.match(rf"\s*{name}\s*=", one)]
        text = "\n".join([line, *kept]) + "\n"
        if _parsed(text) != wanted:
            raise InputError(f"{file} cannot be changed safely.", hint=f"Write this line into it by hand: {line}")
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}.part")
        part.write_text(text, encoding="utf-8")
        part.chmod(0o600)
        part.replace(file)
    except OSError as exc:
        raise InputError(f"{file} cannot be written: {exc.strerror}.") from exc


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _collect(flags: Mapping[str, Any] | None, environ: Mapping[str, str] | None) -> dict[str, tuple[Any, str]]:
    environ = os.environ if environ is None else environ
    flags = {name: value for name, value in (flags or {}).items() if value is not None}
    home = Path(flags.get("home") or environ.get("RUMA_HOME") or platformdirs.user_data_path("ruma"))
    home_source = "flag" if "home" in flags else "RUMA_HOME" if environ.get("RUMA_HOME") else "default"
    found: dict[str, tuple[Any, str]] = {"home": (home.expanduser().absolute(), home_source)}
    file = found["home"][0] / "ruma.toml"
    written = _read_file(file)
    _read_plans(file, written.pop("plans", {}))  # a plan that is not understood is said at once
    for field in fields(Settings)[1:]:
        name, variable = field.name, f"RUMA_{field.name.upper()}"
        value, source = field.default, "default"
        if name in written:
            value, source = written.pop(name), str(file)
        if environ.get(variable):
            value, source = environ[variable], variable
        if name in flags:
            value, source = flags[name], "flag"
        found[name] = (_checked(name, value, field.type, source), source)
    if written:
        raise InputError(
            f"{file} has an unknown setting: {', '.join(sorted(written))}.",
            hint="`ruma config` lists the settings there are.",
        )
    return found


def _read_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise InputError(f"{file} cannot be read as TOML: {exc}.", hint="Mend the line that it names.") from exc
    except OSError as exc:
        raise InputError(f"{file} cannot be read: {exc.strerror}.") from exc


def _read_plans(file: Path, tables: Any) -> dict[str, Plan]:
    if not isinstance(tables, dict) or not all(isinstance(one, dict) for one in tables.values()):
        raise InputError(f"{file}: plans are tables.", hint="Write: [plans.short]")
    plans = {FREE: Plan()}
    for name, table in tables.items():
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", name):
            raise InputError(f"{file}: a plan cannot be called {name!r}.", hint="Use a-z, 0-9 and hyphens.")
        if unknown := sorted(table.keys() - {*KINDS, "price", "stripe_price"}):
            raise InputError(
                f"{file}: the plan {name} says something about {', '.join(unknown)}.",
                hint=f"A plan has: {', '.join(KINDS)}, each in days; and price, stripe_price.",
            )
        _check_price(file, name, table)
        for kind in table.keys() & set(KINDS):
            days = table[kind]
            if type(days) is not int or not 1 <= days <= MOST_DAYS:
                raise InputError(f"{file}: the plan {name} keeps {kind} for 1 to {MOST_DAYS} days, not {days!r}.")
        plans[name] = Plan(name=name, **table)
    priced = [plan.stripe_price for plan in plans.values() if plan.stripe_price]
    if twice := next((one for one in priced if priced.count(one) > 1), ""):
        raise InputError(f"{file}: two plans have the stripe_price {twice}.", hint="Each needs a price of its own.")
    return plans


def _check_price(file: Path, name: str, table: dict[str, Any]) -> None:
    shown, number = table.get("price", ""), table.get("stripe_price", "")
    if not isinstance(shown, str) or len(shown) > LONGEST_PRICE or not shown.isprintable():
        raise InputError(f"{file}: the price of the plan {name} is a line of up to {LONGEST_PRICE} characters.")
    if not isinstance(number, str) or not re.fullmatch(r"(price_[A-Za-z0-9]{1,100})?", number):
        raise InputError(
            f"{file}: the stripe_price of the plan {name} is none of Stripe's numbers.",
            hint='It looks like: stripe_price = "price_1PgafmB7WZ01zgkW"',
        )
    if name == FREE and number:
        raise InputError(
            f"{file}: the plan {FREE} cannot be paid for: it is what everybody has who pays for none.",
            hint="Give the price to a plan of another name.",
        )


_SWITCH = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}


def _checked(name: str, value: Any, kind: Any, source: str) -> Any:
    if kind is bool:
        if str(value).lower() not in _SWITCH:
            raise InputError(f"The setting {name} must be true or false, not {value!r} (from {source}).")
        return _SWITCH[str(value).lower()]
    try:
        value = int(value) if kind is int else str(value)
    except ValueError:
        raise InputError(f"The setting {name} must be a whole number, not {value!r} (from {source}).") from None
    if value not in _CHOICES.get(name, (value,)):
        raise InputError(
            f"The setting {name} cannot be {value!r} (from {source}).",
            hint=f"It is one of: {', '.join(_CHOICES[name])}.",
        )
    if name == "mail_from" and value and not re.fullmatch(r"[^\s@<>,;\"]+@[A-Za-z0-9.-]+", value):
        raise InputError(f"The setting mail_from must be a mail address, not {value!r} (from {source}).")
    if name == "stripe_api" and not re.fullmatch(
        r"https://[A-Za-z0-9.-]+(:\d+)?|http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?", value
    ):
        raise InputError(
            f"The setting stripe_api cannot be {value!r} (from {source}).",
            hint="It begins with https://, or is a program on this machine, such as http://127.0.0.1:12111.",
        )
    if (
        (name in {"port", "smtp_port"} and not 0 <= value <= 65535)
        or (name in {"threads", "max_file_mb"} and value < 0)
        or (name in {"visitor_questions", "tenant_questions", "max_site_pages"} and value < 1)
    ):
        raise InputError(f"The setting {name} cannot be {value} (from {source}).")
    return value
