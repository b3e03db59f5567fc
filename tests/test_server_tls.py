import shutil
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ruma.errors import InputError
from ruma.server.tls import open_tls
from tests.certificates import make_certificate
from tests.guarded import Guarded, read_all, request
from tests.serving import Running


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Return the files of a certificate for localhost and of its key."""
    return make_certificate(tmp_path / "pair")


@pytest.fixture
def running(pair: tuple[Path, Path]) -> Iterator[Guarded]:
    """Return a server with that certificate."""
    with Guarded(tls=pair) as server:
        yield server


def shown(server: Guarded) -> bytes:
    """Return the certificate that a new handshake is shown, whoever signed it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(server.connect(), server_hostname="localhost") as connection:
        found = connection.getpeercert(binary_form=True)
    assert found
    return found


def in_file(cert: Path) -> bytes:
    """Return the certificate in a file."""
    return ssl.PEM_cert_to_DER_cert(cert.read_text())


def test_a_new_certificate_is_shown_without_a_restart(running: Guarded, pair: tuple[Path, Path]) -> None:
    """When the files hold a new pair, the next handshake shows it, and a connection that is open goes on."""
    before = shown(running)
    with running.open() as old:
        make_certificate(pair[0].parent)

        after = shown(running)
        old.sendall(request("/", "Connection: close"))

        assert b"hello" in read_all(old)
    assert before != after == in_file(pair[0])


def test_a_link_that_changes_is_followed(tmp_path: Path) -> None:
    """Where the files are links, as certbot's are, a link to another pair is a new pair."""
    first, second = make_certificate(tmp_path / "1"), make_certificate(tmp_path / "2")
    live = tmp_path / "cert.pem", tmp_path / "key.pem"
    for link, target in zip(live, first, strict=True):
        link.symlink_to(target)
    with Guarded(tls=live) as server:
        assert shown(server) == in_file(first[0])

        for link, target in zip(live, second, strict=True):
            link.unlink()
            link.symlink_to(target)

        assert shown(server) == in_file(second[0])


@pytest.mark.parametrize("damage", ["empty", "gone", "another key", "no certificate"])
def test_a_broken_new_pair_is_said_once_and_the_old_one_kept(
    running: Guarded, pair: tuple[Path, Path], tmp_path: Path, damage: str
) -> None:
    """A pair that cannot be used changes nothing but for one line in the log; a good one later is taken."""
    before = shown(running)
    if damage == "empty":
        pair[0].write_text("")
    elif damage == "gone":
        pair[1].unlink()
    elif damage == "another key":
        shutil.copy(make_certificate(tmp_path / "other")[1], pair[1])
    else:
        pair[0].write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")

    found = {shown(running) for _ in range(3)}
    said = running.said()
    make_certificate(pair[0].parent)

    assert found == {before}
    assert said.count("The certificate before it is kept.") == 1
    assert str(pair[0].parent) in said
    assert shown(running) == in_file(pair[0])


def test_an_encrypted_key_is_an_error_and_not_a_question(tmp_path: Path) -> None:
    """A key with a password is named, with the command that takes it off; nobody is asked on the terminal."""
    with pytest.raises(InputError, match=r"key\.pem is encrypted") as caught:
        open_tls(*make_certificate(tmp_path, password=b"secret"))

    assert "openssl pkey" in caught.value.hint


def test_a_key_of_another_certificate_is_an_error(tmp_path: Path) -> None:
    """Two files that do not belong together are named."""
    cert, _ = make_certificate(tmp_path / "1")
    _, key = make_certificate(tmp_path / "2")

    with pytest.raises(InputError, match="does not belong to"):
        open_tls(cert, key)


def test_files_that_are_none_are_named(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    """A missing file, a folder, two files in each other's place, and damaged content are errors that name the file."""
    cert, key = pair
    damaged = tmp_path / "damaged.pem"
    damaged.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")

    for files, sentence in (
        ((tmp_path / "none", key), "none cannot be read"),
        ((cert, tmp_path / "none"), "none cannot be read"),
        ((tmp_path, key), "cannot be read"),
        ((key, cert), "holds no certificate"),
        ((cert, cert), "holds no private key"),
        ((damaged, key), r"damaged\.pem"),
    ):
        with pytest.raises(InputError, match=sentence):
            open_tls(*files)


@pytest.mark.parametrize(
    ("version", "is_spoken"),
    [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_versions_are_refused(running: Guarded, version: ssl.TLSVersion, is_spoken: bool) -> None:
    """TLS 1.2 and 1.3 are spoken, nothing older; 1.2 with forward secrecy alone."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version

    if not is_spoken:
        with pytest.raises(OSError, match=r"(?i)alert|protocol|eof|reset"):
            context.wrap_socket(running.connect(), server_hostname="localhost")
        return
    with context.wrap_socket(running.connect(), server_hostname="localhost") as connection:
        cipher = connection.cipher()
        assert cipher
        assert cipher[0].startswith(("ECDHE-", "TLS_"))


def test_a_cipher_without_forward_secrecy_is_refused(running: Guarded) -> None:
    """A client that knows only the old ways of TLS 1.2 is not served."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES256-GCM-SHA384:AES128-SHA")

    with pytest.raises(ssl.SSLError):
        context.wrap_socket(running.connect(), server_hostname="localhost")


def test_a_client_that_names_no_host_is_served(running: Guarded) -> None:
    """A client that leaves the name out, as some probes do, sees the same certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    with context.wrap_socket(running.connect()) as connection:
        assert connection.getpeercert(binary_form=True) == shown(running)


def test_one_who_speaks_no_tls_is_cut(running: Guarded) -> None:
    """A plain request to a port with TLS gets nothing, and the server goes on."""
    with running.connect(request("/")) as plain:
        assert not read_all(plain).startswith(b"HTTP/")

    assert b"hello" in running.get()


def test_the_whole_server_in_tls(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    """`serve` with a certificate and a public address answers in TLS, says where, and tells browsers to stay there."""
    cert, key = pair
    settings = {"tls_cert": str(cert), "tls_key": str(key), "public_url": "https://localhost.example:8443"}
    context = ssl.create_default_context(cafile=cert)
    with Running(tmp_path / "home", **settings) as server:
        assert "https://localhost.example:8443/t/acme/" in server.banner[0]
        answers = []
        for host in ("localhost.example:8443", "localhost", "evil.example"):
            with (
                closing(socket.create_connection(("127.0.0.1", server.port), 10)) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as connection,
            ):
                connection.sendall(f"GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                answers.append(read_all(connection))
        begun = time.monotonic()
        assert server.stop() == (0, "")
        assert time.monotonic() - begun < 5

    assert [answer.split()[1] for answer in answers] == [b"200", b"200", b"421"]
    assert all(b"strict-transport-security: max-age=31536000" in answer for answer in answers)
