import json
import os
import re
import signal
import subprocess
import urllib.request

import pytest

from ruma.config import load_settings
from tests.harness.process import RUMA, environ_of
from tests.running import run


@pytest.mark.parametrize(("number", "is_terminal"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_the_server_says_where_it_answers_and_ends_when_told(number: signal.Signals, is_terminal: bool) -> None:
    """Three lines on standard error name the page, and then how its owner gets in; Ctrl-C and SIGTERM end it with 0.

    The link itself is for a person at a terminal; a journal would keep it.
    """
    run("tenant", "create", "acme")
    ours, theirs = os.openpty() if is_terminal else os.pipe()
    with open(ours, encoding="utf-8") as said:
        command = subprocess.Popen(
            [*RUMA, "serve", "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
            env=environ_of(load_settings().home),
        )
        banner = [said.readline() for _ in range(3)]
        address = re.search(r"http://127\.0\.0\.1:\d+", banner[0])
        assert address, banner
        with urllib.request.urlopen(f"{address[0]}/health", timeout=10) as response:
            assert json.load(response)["ok"]
        assert f"{address[0]}/t/acme/" in banner[0]

        # The link comes when it is ready, before or after the line of the request.
        line, *words = sorted(said.readline() for _ in range(3 if is_terminal else 2))[::-1]
        assert "acme has no owner yet" in "".join(words)
        assert (f"{address[0]}/t/acme/setup/" in "".join(words)) == is_terminal
        assert ("ruma members link --tenant acme" in "".join(words)) != is_terminal

        command.send_signal(number)
        printed, _ = command.communicate(timeout=20)
        os.write(theirs, b"the end\n")
        complained = said.readline()
        os.close(theirs)

    assert (command.returncode, printed, complained) == (0, "", "the end\n")
    assert json.loads(line)["route"] == "/health"


def test_an_address_that_others_can_reach_needs_tls() -> None:
    """Without a certificate and without a proxy, such an address is one clear error."""
    result = run("serve", "--host", "0.0.0.0")

    assert result.exit_code == 1
    assert "0.0.0.0" in result.stderr
    assert "--tls-cert" in result.stderr


def test_the_options_are_settings() -> None:
    """What is wrong with a certificate, a proxy or the public address is one sentence, before anything is opened."""
    for options, sentence in (
        (["--tls-cert", "/no/cert.pem", "--tls-key", "/no/key.pem"], "/no/cert.pem cannot be read"),
        (["--behind-proxy", "everyone", "--public-url", "https://ask.example.com"], "'everyone'"),
        (["--behind-proxy", "127.0.0.1", "--public-url", "ask.example.com"], "'ask.example.com'"),
        (["--behind-proxy", "127.0.0.1"], "--public-url"),
    ):
        result = run("serve", *options)

        assert result.exit_code == 1
        assert sentence in result.stderr


def test_a_port_that_is_no_number_is_a_usage_error() -> None:
    """The command line is checked before anything is opened."""
    assert run("serve", "--port", "many").exit_code == 2
    assert run("serve", "--port", "70000").exit_code == 1


def test_links_begin_with_the_public_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """What commands print for people to open or to copy begins with the address that people type."""
    monkeypatch.setenv("RUMA_PUBLIC_URL", "https://ask.example.com")
    run("tenant", "create", "acme")

    link, line = run("members", "link"), run("widget", "line")

    assert "https://ask.example.com/t/acme/setup/" in link.stdout
    assert "https://ask.example.com/t/acme/widget.js" in line.stdout
