import re
import subprocess
import sys

import pytest

from ruma.config import load_settings
from ruma.server.listener import only_server
from ruma.tenant.home import Home
from ruma.tenant.people.joining import accept_invitation, reset_password, set_up_owner
from ruma.tenant.people.members import check_sign_in, find_member
from ruma.tenant.people.second_factor import enable_second_factor, new_factor_secret
from ruma.tenant.people.sessions import begin_session, list_sessions
from tests.running import read_json, run

PASSWORD = "harbour violin ticket 83"
ADDRESS = re.compile(r"http://127\.0\.0\.1:8420/t/acme/(setup|invitation|reset)/([\w-]{43})")


def make_tenant() -> None:
    """Make a tenant with an owner."""
    made = run("tenant", "create", "acme", "--owner", "Anna@example.com", typed=f"{PASSWORD}\n")
    assert made.exit_code == 0, made.output


def link_in(text: str, purpose: str) -> str:
    """Return the secret of the one link in what was printed."""
    found = ADDRESS.findall(text)
    assert [one[0] for one in found] == [purpose], text
    return str(found[0][1])


def test_a_tenant_is_made_with_its_owner() -> None:
    """The password comes as one line of standard input, is not repeated, and signs the owner in."""
    result = run("tenant", "create", "acme", "--owner", "Anna@example.com", typed=f"{PASSWORD}\n")

    assert result.exit_code == 0
    assert PASSWORD not in result.output
    assert [(one["email"], one["name"], one["role"]) for one in read_json("members", "list")] == [
        ("anna@example.com", "anna", "owner")
    ]
    with Home(load_settings()).open("acme") as tenant:
        assert check_sign_in(tenant, "anna@example.com", PASSWORD)


@pytest.mark.parametrize(
    ("options", "typed"),
    [
        (["--owner", "anna@example.com"], "1234567890\n"),
        (["--owner", "anna@example.com"], ""),
        (["--owner", "no address"], f"{PASSWORD}\n"),
        (["--owner-name", "Anna"], ""),
    ],
)
def test_an_owner_who_cannot_be_leaves_no_tenant(options: list[str], typed: str) -> None:
    """A weak password, none, or no address: nothing is made."""
    result = run("tenant", "create", "acme", *options, typed=typed)

    assert result.exit_code == 1
    assert "1234567890" not in result.output
    assert read_json("tenant", "list") == []


def test_a_password_is_not_shown_on_a_terminal() -> None:
    """On a terminal it is asked for twice, and what is typed does not appear."""
    script = (
        "import os, pty, sys\n"
        "def read(fd):\n"
        "    data = os.read(fd, 1024)\n"
        "    if b'Password' in data or b'Once more' in data:\n"
        f"        os.write(fd, b'{PASSWORD}\\n')\n"
        "    if b'last five' in data:\n"
        "        os.write(fd, b'\\n')\n"
        "    return data\n"
        "sys.exit(os.waitstatus_to_exitcode(pty.spawn([sys.executable, '-m', 'ruma', 'tenant', 'create', 'acme',"
        " '--owner', 'anna@example.com'], read, lambda fd: os.read(fd, 1024))))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout
        shown = process.stdout.read().decode()

    assert process.returncode == 0, shown
    assert "Once more" in shown
    assert PASSWORD not in shown
    assert read_json("members", "list")[0]["email"] == "anna@example.com"


def test_the_setup_link_makes_the_first_owner() -> None:
    """The link stands alone on standard output; with an owner there is none any more."""
    run("tenant", "create", "acme")
    nobody = run("members", "list")

    result = run("members", "link")
    secret = link_in(result.stdout, "setup")
    with Home(load_settings()).open("acme") as tenant:
        set_up_owner(tenant, secret, email="anna@example.com", name="Anna", password=PASSWORD)
    again = run("members", "link")

    assert "ruma members link" in nobody.stderr
    assert "24 hours" in result.stderr
    assert again.exit_code == 1
    assert "owner already" in again.stderr


def test_a_link_leads_to_the_server_that_runs() -> None:
    """Which may have been started on another port than the settings name."""
    settings = load_settings()
    run("tenant", "create", "acme")

    with only_server(settings, "https://agents.example.com:9443"):
        running = run("members", "link")
    stopped = run("members", "link")

    assert running.stdout.startswith("https://agents.example.com:9443/t/acme/setup/")
    assert stopped.stdout.startswith("http://127.0.0.1:8420/t/acme/setup/")


def test_a_person_is_invited() -> None:
    """The invitation is listed until it is taken, and gives the role."""
    make_tenant()

    secret = link_in(run("members", "invite", "bob@example.com", "--role", "viewer").stdout, "invitation")
    listed = run("members", "list").stdout
    with Home(load_settings()).open("acme") as tenant:
        accept_invitation(tenant, secret, name="Bob", password=PASSWORD)

    assert "invited" in listed
    assert [(one["name"], one["role"]) for one in read_json("members", "list")] == [
        ("anna", "owner"),
        ("Bob", "viewer"),
    ]
    assert "invited" not in run("members", "list").stdout


def test_an_invitation_is_withdrawn() -> None:
    """Removing an address that is only invited voids the link."""
    make_tenant()
    run("members", "invite", "bob@example.com")

    result = run("members", "remove", "bob@example.com")

    assert result.exit_code == 0
    assert "Withdrew" in result.stderr
    assert "invited" not in run("members", "list").stdout


def test_a_password_is_reset() -> None:
    """The link sets a new one; with --second-factor a lost phone is no hindrance either, and every session ends."""
    make_tenant()
    with Home(load_settings()).open("acme") as tenant:
        member, secret = find_member(tenant, "anna@example.com"), new_factor_secret()
        import pyotp

        enable_second_factor(tenant, member.id, secret, pyotp.TOTP(secret).now())

    kept = run("members", "reset", "anna@example.com", "--json")
    assert "second factor" in run("members", "list").stdout
    with Home(load_settings()).open("acme") as tenant:
        begin_session(tenant, member.id)
    given = read_json("members", "reset", "anna@example.com", "--second-factor")["link"]
    with Home(load_settings()).open("acme") as tenant:
        sessions = list_sessions(tenant, member.id)
        member = reset_password(tenant, link_in(given, "reset"), "lantern gravel opera 51")

    assert kept.exit_code == 0
    assert not member.has_second_factor
    assert sessions == []
    again = run("members", "reset", "anna@example.com", "--second-factor")
    assert (again.exit_code, "no second factor" in again.stderr) == (1, True)


def test_roles_and_access_are_changed() -> None:
    """And the last owner stays what they are."""
    make_tenant()
    secret = link_in(run("members", "invite", "bob@example.com").stdout, "invitation")
    with Home(load_settings()).open("acme") as tenant:
        accept_invitation(tenant, secret, name="Bob", password=PASSWORD)

    refused = run("members", "role", "anna@example.com", "viewer")
    made = run("members", "role", "bob@example.com", "owner")
    disabled = run("members", "disable", "anna@example.com")
    state = {one["email"]: (one["role"], one["is_disabled"]) for one in read_json("members", "list")}
    enabled = run("members", "enable", "anna@example.com")
    unknown = run("members", "role", "nobody@example.com", "owner")

    assert (refused.exit_code, made.exit_code, disabled.exit_code, enabled.exit_code) == (1, 0, 0, 0)
    assert "last owner" in refused.stderr
    assert state == {"anna@example.com": ("owner", True), "bob@example.com": ("owner", False)}
    assert "disabled" in disabled.stderr
    assert unknown.exit_code == 1


@pytest.mark.parametrize(("options", "typed", "is_gone"), [([], "nobody\n", False), ([], "bob@example.com\n", True)])
def test_removing_needs_the_address_typed(options: list[str], typed: str, is_gone: bool) -> None:
    """Another address keeps the member."""
    make_tenant()
    secret = link_in(run("members", "invite", "bob@example.com").stdout, "invitation")
    with Home(load_settings()).open("acme") as tenant:
        accept_invitation(tenant, secret, name="Bob", password=PASSWORD)

    result = run("members", "remove", "bob@example.com", *options, typed=typed)

    assert (result.exit_code == 0) == is_gone
    assert ("Bob" not in run("members", "list").stdout) == is_gone


def test_yes_removes_without_asking_but_not_the_last_owner() -> None:
    """The one who can manage the tenant stays."""
    make_tenant()

    result = run("members", "remove", "anna@example.com", "--yes")

    assert result.exit_code == 1
    assert "last owner" in result.stderr


def test_a_member_is_corrected_and_signed_out() -> None:
    """The right name and address; sessions are listed, and end one by one or all together."""
    make_tenant()
    with Home(load_settings()).open("acme") as tenant:
        member = find_member(tenant, "anna@example.com").id
        for browser in ("Firefox", "Safari", "Edge"):
            begin_session(tenant, member, browser=browser, address="203.0.113.9")

    wrong = run("members", "correct", "anna@example.com", "--email", "ann@example.com", "--name", " ")
    same = run("members", "correct", "anna@example.com")
    right = run("members", "correct", "anna@example.com", "--email", "ann@example.com", "--name", "Ann")
    assert (wrong.exit_code, same.exit_code, right.exit_code) == (1, 1, 0)
    assert "Ann (ann@example.com): owner" in right.stderr

    listed = read_json("members", "sessions", "ann@example.com")
    assert [one["browser"] for one in listed] == ["Edge", "Safari", "Firefox"]
    assert "203.0.113.0/24" in run("members", "sessions", "ann@example.com").stdout
    run("members", "sign-out", "ann@example.com", "--session", listed[0]["id"])
    assert "ended already" in run("members", "sign-out", "ann@example.com", "--session", listed[0]["id"]).stderr
    assert len(read_json("members", "sessions", "ann@example.com")) == 2
    assert "signed out everywhere" in run("members", "sign-out", "ann@example.com").stderr
    assert "is not signed in" in run("members", "sessions", "ann@example.com").stderr
