"""The layers that `ls ruma/` shows, and the one owner of each foreign package."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "ruma"

LAYERS: list[set[str]] = [
    {"cli"},
    {"server"},
    {"ingest", "chat", "privacy", "business"},
    {"models", "tenant"},
    {"connections"},
    {"offline"},
    {"config"},
    {"errors"},
]

OWNERS: dict[str, str] = {
    "typer": "cli",
    "rich": "cli",
    "litestar": "server",
    "uvicorn": "server",
    "h11": "server",
    "jinja2": "server",
    "multipart": "server",
    "segno": "server",
    "pypdf": "ingest",
    "docx": "ingest",
    "lxml": "ingest",
    "markdown_it": "ingest",
    "sentencex": "ingest",
    "pathspec": "ingest",
    "snowballstemmer": "chat",
    "sentence_transformers": "models",
    "transformers": "models",
    "torch": "models",
    "openvino": "models",
    "nncf": "models",
    "tokenizers": "models",
    "llama_cpp": "models",
    "sqlite_utils": "tenant",
    "sqlcipher3": "tenant",
    "keyring": "tenant",
    "nacl": "tenant",
    "tomli_w": "tenant",
    "argon2": "tenant",
    "cryptography": "tenant",
    "pyotp": "tenant",
    "zxcvbn": "tenant",
    "platformdirs": "config",
}

SHARED = {"numpy"}

ALONE: dict[str, set[str]] = {
    "llama_cpp": {"models/llama.py"},
    "sqlcipher3": {"tenant/database.py"},
    "keyring": {"tenant/keys/keyring_process.py"},
    "argon2": {"tenant/people/passwords.py"},
    "pyotp": {"tenant/people/second_factor.py"},
}
"""Packages that one file alone may import: the one opener, the one model process, the one keyring helper."""

LIGHT = """
import sys, ruma.cli.main
heavy = {"torch", "llama_cpp", "litestar", "openvino", "sentence_transformers", "numpy", "sqlcipher3", "keyring"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


@cache
def parsed(path: Path) -> ast.Module:
    """Return what a file says, read once for all tests."""
    return ast.parse(path.read_text())


@cache
def imported(path: Path) -> frozenset[str]:
    """Name everything a file imports, also inside functions."""
    return frozenset(find_imports(path))


def find_imports(path: Path) -> Iterator[str]:
    """Name each import of a file."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: write the absolute import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(package: str) -> int:
    """Return a package's place, 0 at the top; an unknown package has none."""
    return next(place for place, packages in enumerate(LAYERS) if package in packages)


def test_imports_point_down() -> None:
    """No module imports sideways or up, and no foreign package has two owners or none."""
    for path in sorted(ROOT.rglob("*.py")):
        here = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if here in {"__init__", "__main__"}:
            continue
        for name in imported(path):
            top, _, rest = name.partition(".")
            there = rest.partition(".")[0]
            if top == "ruma":
                is_version = there == "__version__"
                assert is_version or there == here or layer(here) < layer(there), f"{path}: imports {there}"
            elif top not in sys.stdlib_module_names and top not in SHARED:
                assert OWNERS.get(top) == here, f"{path}: imports {top}"


def test_the_middle_layer_is_not_read_in_a_circle() -> None:
    """No module of it imports one that imports it, also not inside functions or for its types alone."""
    middle = [path for package in sorted(LAYERS[2]) for path in (ROOT / package).rglob("*.py")]
    modules = {".".join(("ruma", *path.relative_to(ROOT).with_suffix("").parts)): path for path in middle}
    graph = {
        name: {one if one in modules else one.rpartition(".")[0] for one in imported(path)} & modules.keys()
        for name, path in modules.items()
    }

    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("package", sorted(ALONE))
def test_a_guarded_package_has_one_importer(package: str) -> None:
    """What must have one door has one: a second importer would go around its checks."""
    importers = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if any(name.partition(".")[0] == package for name in imported(path))
    }

    assert importers == ALONE[package]


def test_sql_is_written_in_one_package() -> None:
    """No module outside ruma/tenant sends SQL: `.execute(` and `connect(` stand nowhere else."""
    for path in ROOT.rglob("*.py"):
        if path.relative_to(ROOT).parts[0] == "tenant":
            continue
        calls = [node.func for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]
        names = {call.attr for call in calls if isinstance(call, ast.Attribute)}
        assert not names & {"execute", "executemany", "executescript", "reading", "writing"}, path


def test_every_package_says_what_it_is_for() -> None:
    """A package's `__init__` holds its one sentence and no code."""
    for path in ROOT.glob("*/__init__.py"):
        body = ast.parse(path.read_text()).body
        assert len(body) == 1, path
        assert isinstance(body[0], ast.Expr), path


def test_the_command_line_starts_light() -> None:
    """Importing the command loads no model library, no web framework and no database."""
    found = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
