"""Keys that are changed: killed at any moment, the old key or the new one opens everything, and nothing is left."""

import json
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from ruma.config import Settings
from ruma.errors import RumaError
from ruma.tenant.home import Home
from ruma.tenant.keys.keys import Key
from ruma.tenant.keys.master_rotation import rotate_master
from tests.harness.forking import COMMAND, Run, run_forked
from tests.harness.needs import needs
from tests.harness.oracle import check_tenant
from tests.harness.process import RUMA, environ_of, ruma, store
from tests.harness.strace import every_point
from tests.serving import Running


def some(call: str, every: int, *, is_nightly: bool = False) -> list[object]:
    """Return the parameters for some of the points of a call now, and for all of them in the nightly run."""
    marks = pytest.mark.nightly if is_nightly else ()
    return [
        pytest.param(call, every, id=call, marks=marks),
        pytest.param(call, 1, id=f"{call}-all", marks=pytest.mark.nightly),
    ]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home with a tenant that has a document, keep a copy for `put_back`, and its recovery key beside it."""
    home = tmp_path / "home"
    created = Home(Settings(home=home, key_source="machine")).create("acme")
    (tmp_path / "recovery").write_text(created.recovery_key)
    assert store(home, "a").returncode == 0
    (tmp_path / "master.key").write_text(Key.random().raw.hex())
    (tmp_path / "master.key").chmod(0o600)
    shutil.copytree(home, tmp_path / "copy", symlinks=True)
    return home


def put_back(home: Path) -> None:
    """Put the home back as it was."""
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(home.with_name("copy"), home, symlinks=True)


def check_left(home: Path, settings: Settings | None = None) -> None:
    """Assert that the next command opens everything, and that one database, one key and no journal are left."""
    settings = settings or Settings(home=home)
    with Home(settings).open("acme") as tenant:
        kept, database = tenant.manifest.key_item, tenant.manifest.database
    assert set(check_tenant(home, "acme")) == {"a"}
    items = {file.stem for file in (home / "keys").glob("*.key")} - {"machine"}
    assert items == {kept}
    assert {file.name for file in (home / "tenants/acme").iterdir() if file.is_file()} == {"tenant.toml", database}


@needs("strace")
@pytest.mark.parametrize(
    ("call", "every"),
    [
        *some("fsync", 9),
        *some("rename", 1),
        *some("unlink", 5, is_nightly=True),
        *some("pwrite64", 40, is_nightly=True),
    ],
)
def test_b02_killed_at_any_moment_of_a_rotation(home: Path, tmp_path: Path, call: str, every: int) -> None:
    """One of the two recovery keys, of which the new one was shown before, opens everything; the other nothing."""
    old = (tmp_path / "recovery").read_text()

    def check(point: int, run: Run) -> None:
        check_left(home)
        shown = [json.loads(line) for line in run.stdout.splitlines()]
        fits = [Home(Settings(home=home)).is_recovery_key("acme", text) for text in (old, *shown_keys(shown))]
        assert sum(fits) == 1
        if any(one["state"] == "rotated" for one in shown):
            assert fits == [False, True]

    every_point(
        [*RUMA, "keys", "rotate", "acme", "--json"],
        call,
        every=every,
        env=environ_of(home),
        trace=tmp_path / "trace",
        fresh=lambda: put_back(home),
        check=check,
    )


def shown_keys(lines: list[dict[str, str]]) -> list[str]:
    """Return the recovery keys that a rotation printed."""
    return [one["recovery_key"] for one in lines if one["state"] == "new key"]


@needs("strace")
@pytest.mark.parametrize(
    ("call", "every"), [*some("fsync", 9, is_nightly=True), *some("rename", 1), *some("unlink", 4, is_nightly=True)]
)
def test_b02_killed_at_any_moment_of_a_move(home: Path, tmp_path: Path, call: str, every: int) -> None:
    """The key lies in the old place or in the new one, in that one alone, and the recovery key is the same."""
    environ = environ_of(home, RUMA_KEY_FILE=str(tmp_path / "master.key"))
    settings = Settings(home=home, key_file=str(tmp_path / "master.key"))

    def check(point: int, run: Run) -> None:
        with Home(settings).open("acme") as tenant:
            kept = tenant.manifest.key_item
        assert {file.stem for file in (home / "keys").glob("*.key")} - {"machine"} == {kept}
        assert not (home / "tenants/acme/key-change.toml").exists()
        assert Home(settings).is_recovery_key("acme", (tmp_path / "recovery").read_text())

    every_point(
        [*RUMA, "keys", "move", "acme", "--to", "file"],
        call,
        every=every,
        env=environ,
        trace=tmp_path / "trace",
        fresh=lambda: put_back(home),
        check=check,
    )


@needs("strace")
@pytest.mark.parametrize(
    ("call", "every"), [*some("fsync", 4, is_nightly=True), *some("rename", 1), *some("unlink", 1, is_nightly=True)]
)
def test_b02_killed_at_any_moment_of_a_new_master_key(home: Path, tmp_path: Path, call: str, every: int) -> None:
    """Everything opens afterwards; run again, the old master key opens nothing and no bridge is left."""
    old = (home / "keys/machine.key").read_bytes()

    def check(point: int, run: Run) -> None:
        check_left(home)
        rotate = rotate_master(Settings(home=home), "machine")
        assert rotate.is_finished
        assert not list((home / "keys").glob("*.bridge"))
        check_left(home)
        assert (home / "keys/machine.key").read_bytes() != old
        (home / "keys/machine.key").write_bytes(old)
        with pytest.raises(RumaError):
            Home(Settings(home=home)).open("acme")

    every_point(
        [*RUMA, "keys", "rotate-master"],
        call,
        every=every,
        env=environ_of(home),
        trace=tmp_path / "trace",
        fresh=lambda: put_back(home),
        check=check,
    )


@needs("strace")
@pytest.mark.parametrize(("call", "every"), [*some("fsync", 10), *some("rename", 1, is_nightly=True)])
def test_b02_a_disk_that_fails_during_a_rotation(home: Path, tmp_path: Path, call: str, every: int) -> None:
    """Where the disk refuses, the command says so, and one of the two keys opens everything."""

    def check(point: int, run: Run) -> None:
        if run.returncode == 0:
            assert "rotated" in run.stdout
        check_left(home)

    every_point(
        [*RUMA, "keys", "rotate", "acme", "--json"],
        call,
        fault="error=EIO",
        every=every,
        env=environ_of(home),
        trace=tmp_path / "trace",
        fresh=lambda: put_back(home),
        check=check,
    )


def test_b02_a_full_disk_keeps_the_old_key(home: Path, tmp_path: Path) -> None:
    """Without room for the new database the command names the disk, and the old key stays in force."""
    limited = ["sh", "-c", 'ulimit -f 64; exec "$@"', "sh", *RUMA, "keys", "rotate", "acme", "--json"]

    run = subprocess.run(limited, env=environ_of(home), capture_output=True, text=True, timeout=60)

    assert run.returncode == 1
    assert run.stderr.startswith("Error: ")
    check_left(home)
    assert Home(Settings(home=home)).is_recovery_key("acme", (tmp_path / "recovery").read_text())


def test_a_home_on_another_machine(home: Path, tmp_path: Path) -> None:
    """A copy of the home without its keys opens nothing; with the pack everything opens, under another key source."""
    before = check_tenant(home, "acme")
    packed = ruma("keys", "pack", tmp_path / "pack", home=home, typed="a long passphrase\n")
    there, master = tmp_path / "there", tmp_path / "master.key"
    shutil.copytree(home, there, ignore=shutil.ignore_patterns("keys"))

    lost = ruma("tenant", "show", "acme", home=there)
    wrong = ruma("keys", "unpack", tmp_path / "pack", home=there, typed="another passphrase\n")
    back = ruma(
        "keys",
        "unpack",
        tmp_path / "pack",
        "--to",
        "file",
        home=there,
        typed="a long passphrase\n",
        RUMA_KEY_FILE=master,
    )
    shown = ruma("keys", "--json", home=there, RUMA_KEY_FILE=master)

    assert packed.returncode == 0, packed.stderr
    assert (lost.returncode, wrong.returncode) == (1, 1)
    assert "not the passphrase" in wrong.stderr
    assert back.returncode == 0, back.stderr
    assert [one["key_store"] for one in json.loads(shown.stdout)] == ["sealed files (file)"]
    settings = Settings(home=there, key_file=str(master))
    with Home(settings).open("acme") as tenant, Home(Settings(home=home)).open("acme") as other:
        assert tenant.key == other.key
    assert not (there / "keys/machine.key").exists()
    assert check_tenant(home, "acme") == before
    assert (tmp_path / "pack").stat().st_mode & 0o777 == 0o600
    assert other.key.raw not in (tmp_path / "pack").read_bytes()


def test_a_master_key_that_somebody_else_keeps(home: Path, tmp_path: Path) -> None:
    """Both master keys open everything until the source gives the new one and the operator says so; then it alone."""
    master, new = tmp_path / "master.key", tmp_path / "new.key"
    new.write_text(Key.random().raw.hex())
    new.chmod(0o600)
    before, after = {"RUMA_KEY_FILE": str(master)}, {"RUMA_KEY_FILE": str(new)}
    assert ruma("keys", "move", "--all", "--to", "file", home=home, **before).returncode == 0

    begun = ruma("keys", "rotate-master", "--new-key", new, home=home, **before)
    early = ruma("keys", "rotate-master", "--finish", home=home, **before)

    assert begun.returncode == 0, begun.stderr
    assert "--finish" in begun.stderr
    assert early.returncode == 1
    assert "still gives the old master key" in early.stderr
    for given in (before, after):
        assert ruma("tenant", "show", "acme", home=home, **given).returncode == 0
        assert "still opens it" in ruma("keys", home=home, **given).stderr
    assert ruma("keys", "rotate-master", "--finish", home=home, **after).returncode == 0
    assert ruma("tenant", "show", "acme", home=home, **after).returncode == 0
    assert "another master key" in ruma("tenant", "show", "acme", home=home, **before).stderr


def test_a_new_passphrase(home: Path, tmp_path: Path) -> None:
    """The new passphrase opens the sealed keys, the old one does not."""
    for name, text in (("old", "the old passphrase"), ("new", "a new passphrase")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)

    def with_passphrase(name: str, *args: str) -> Run:
        with (tmp_path / name).open("rb") as file:
            return run_forked([COMMAND, *args], env=environ_of(home, RUMA_PASSPHRASE_FD="3"), files=[file.fileno()])

    assert with_passphrase("old", "keys", "move", "acme", "--to", "passphrase").returncode == 0
    changed = with_passphrase("old", "keys", "rotate-master", "--new-key", str(tmp_path / "new"))
    assert changed.returncode == 0, changed.stderr
    assert with_passphrase("new", "keys", "rotate-master", "--finish").returncode == 0

    assert with_passphrase("new", "tenant", "show", "acme").returncode == 0
    assert "not the passphrase" in with_passphrase("old", "tenant", "show", "acme").stderr


def test_the_recovery_key_is_checked_without_a_change(home: Path, tmp_path: Path) -> None:
    """A right recovery key is called right and a wrong one wrong, and no file is touched."""
    before = {file: file.read_bytes() for file in home.rglob("*") if file.is_file()}
    right, wrong = (tmp_path / "recovery").read_text(), Key.random().recovery_text()

    found = [ruma("keys", "check-recovery", "acme", home=home, typed=f"{text}\n") for text in (right, wrong)]

    assert [run.returncode for run in found] == [0, 1]
    assert "is the recovery key" in found[0].stdout
    assert all(text not in run.stdout + run.stderr for run in found for text in (right, wrong))
    assert {file: file.read_bytes() for file in home.rglob("*") if file.is_file()} == before


def test_the_list_says_what_is_weak_and_no_key(home: Path, tmp_path: Path) -> None:
    """`ruma keys` names store, origin and dates, warns of a master key beside the sealed ones, and shows no key."""
    key = Key.from_recovery_text((tmp_path / "recovery").read_text())
    inside = home / "master.key"
    shutil.copy2(tmp_path / "master.key", inside)

    plain = ruma("keys", home=home)
    assert ruma("keys", "move", "acme", "--to", "file", home=home, RUMA_KEY_FILE=inside).returncode == 0
    moved = ruma("keys", home=home, RUMA_KEY_FILE=inside)

    assert "the machine's key file" in plain.stdout
    assert "a copy of the whole home opens everything" in plain.stderr
    assert "The key file lies in the home" in moved.stderr
    master = (home / "keys/machine.key").read_text().strip()
    for run in (plain, moved):
        assert not any(secret in run.stdout + run.stderr for secret in (key.raw.hex(), key.recovery_text(), master))


def test_recovery_keys_are_written_where_they_were_asked_for(home: Path, tmp_path: Path) -> None:
    """`--recovery-file` holds the new key before it counts, is for its owner alone, and never replaces a file."""
    file = tmp_path / "keys.txt"

    first = ruma("keys", "rotate", "--all", "--recovery-file", file, home=home)
    again = ruma("keys", "rotate", "--all", "--recovery-file", file, home=home)

    assert first.returncode == 0, first.stderr
    name, text = file.read_text().split()
    assert name == "acme"
    assert Home(Settings(home=home)).is_recovery_key("acme", text)
    assert file.stat().st_mode & 0o777 == 0o600
    assert again.returncode == 1


def test_a_server_answers_while_keys_change(tmp_path: Path) -> None:
    """Visitors ask all the time while the key is rotated and moved: each answer is whole and in the inbox."""
    master = tmp_path / "master.key"
    master.write_text(Key.random().raw.hex())
    master.chmod(0o600)
    home = tmp_path / "home"
    stop, answers = threading.Event(), list[tuple[int, bytes]]()

    def ask(server: Running) -> None:
        while not stop.wait(0.05):
            response = server.ask()
            answers.append((response.status, response.read()))

    with Running(home, key_source="machine", key_file=str(master)) as server:
        threads = [threading.Thread(target=ask, args=[server]) for _ in range(3)]
        for thread in threads:
            thread.start()
        changes = [
            ruma("keys", *args, home=home)
            for args in (
                ["rotate", "acme"],
                ["move", "acme", "--to", "file"],
                ["rotate", "acme"],
                ["move", "acme", "--to", "machine"],
                ["rotate-master"],
            )
        ]
        stop.set()
        for thread in threads:
            thread.join()
        held = [os.readlink(file) for file in Path(f"/proc/{server.process.pid}/fd").iterdir()]

    assert [run.returncode for run in changes] == [0] * len(changes), [run.stderr for run in changes]
    assert {status for status, _ in answers} == {200}
    assert all(b"event: done" in body and b"event: error" not in body for _, body in answers)
    with Home(Settings(home=home, key_file=str(master))).open("acme") as tenant, tenant.reading() as db:
        assert db.execute("select count(*) from conversation").fetchone() == (len(answers),)
    assert not [name for name in held if "tenant.db" in name], "a database of an old key is still open"


def test_the_recovery_key_is_confirmed_at_a_terminal(tmp_path: Path) -> None:
    """A person is asked for the key's end until it is right; who only presses Enter is told how to check it later."""
    answers = [b"WRONG\n", b""]
    for name, lines in (("acme", answers), ("b2", [b"\n"])):
        ours, theirs = os.openpty()
        process = subprocess.Popen(
            [*RUMA, "tenant", "create", name],
            env=environ_of(tmp_path / "home"),
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        os.close(theirs)
        assert process.stderr
        shown = b""
        for line in lines:
            while not shown.endswith(b"only Enter: "):
                shown += process.stderr.read(1)
            end = re.findall(rb"-(\w{5})\s", shown)[0]
            os.write(ours, line or end.lower() + b"\n")
            shown += process.stderr.read(1)
        rest = process.communicate(timeout=60)[1]
        os.close(ours)
        assert process.returncode == 0
        if name == "acme":
            assert b"It does not end so" in shown
            assert b"That is right." in shown + rest
        else:
            assert b"check-recovery b2" in shown + rest
