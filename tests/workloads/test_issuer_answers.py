"""What an issuer may answer when its keys are asked for: whatever it does costs seconds, and gives only public keys."""

import json
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import structlog
import trustme
from joserfc.jwk import OctKey, RSAKey

from remit.api.fetch import FETCH_SECONDS, MAX_JWKS_BYTES
from remit.api.jwks import KeySet, KeysUnavailableError, Source, read_jwks
from remit.testing.clock import ManualClock
from tests.workloads.issuer import KEYS

PUBLIC = [{**KEYS[name].as_dict(private=False), "use": "sig"} for name in ("RS256", "ES256", "EdDSA")]
JWKS = json.dumps({"keys": PUBLIC}).encode()
Answering = Callable[[socket.socket], None]


@contextmanager
def serving(answer: Answering, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """The authority of a server on loopback that answers each connection so, over TLS if it has a context."""
    listening = socket.create_server(("127.0.0.1", 0))

    def one(connection: socket.socket) -> None:
        # The other side hangs up in the middle of many of these answers.
        with suppress(OSError), connection:
            if context is None:
                connection.recv(65_536)
                answer(connection)
                return
            with context.wrap_socket(connection, server_side=True) as encrypted:
                encrypted.recv(65_536)
                answer(encrypted)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=one, args=(listening.accept()[0],), daemon=True).start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        accepting.join()


def whole(body: bytes, status: str = "200 OK", *headers: str) -> Answering:
    """Answers with this body at once."""
    head = "\r\n".join([f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", ""]).encode()
    return lambda connection: connection.sendall(head + body)


def dripping(start: bytes, drop: bytes) -> Answering:
    """Answers with a few bytes and then with one drop at a time, for a minute."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(start)
        for _ in range(300):
            connection.sendall(drop)
            time.sleep(0.2)

    return answer


def why_not(source: Source) -> str:
    """What is logged of keys that cannot be read."""
    with structlog.testing.capture_logs() as logged, pytest.raises(KeysUnavailableError):
        KeySet(source, ManualClock()).find("rsa")
    (line,) = logged
    assert line["event"] == "workload_keys_not_read" and line["source"] == source.place
    return str(line["error"])


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (whole(b'{"keys":[' + b" " * MAX_JWKS_BYTES + b"]}"), "longer than"),
        (dripping(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65_536), "longer than"),
        (whole(JWKS, "302 Found", "location: /elsewhere"), "status 302"),
        (whole(JWKS, "500 Internal Server Error"), "status 500"),
        (whole(b"<html>"), "Expecting value"),
        (whole(b""), "Expecting value"),
        (whole(b"[" * 100_000), "nested too deeply"),
        (whole(b"\xff\xfe\xff"), "decode"),
        (whole(b"[]"), "not a JWK set"),
        (whole(json.dumps({"keys": PUBLIC * 40}).encode()), "at most 100 keys"),
        (whole(JWKS[:-9], "200 OK", "x: " + "y" * 70_000), "got more than 65536 bytes"),
        (lambda connection: connection.sendall(b"no answer\r\n\r\n"), "no answer"),
        (lambda connection: None, "closed"),
    ],
    ids=["long", "endless", "redirect", "error", "html", "empty", "deep", "no text", "list", "many", "head", "junk", "none"],
)  # fmt: skip
def test_an_answer_that_is_no_key_set_gives_no_key(answer: Answering, why: str) -> None:
    """Too much, a redirection, an error, and what is no JWK set are each logged with the reason."""
    with serving(answer) as authority:
        assert why in why_not(Source("url", f"http://{authority}/jwks", None))


def test_an_issuer_that_drips_is_hung_up_on() -> None:
    """Whether it drips in the status line, the headers, the body, a chunk's length or before TLS: it takes five seconds."""
    drips = [
        dripping(b"", b"H"),
        dripping(b"HTTP/1.1 200 OK\r\n", b"x"),
        dripping(b"HTTP/1.1 200 OK\r\n\r\n", b" "),
        dripping(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"0"),
    ]
    taken: list[float] = []

    def read(drip: Answering, scheme: str) -> None:
        begun = time.monotonic()
        with serving(drip) as authority, pytest.raises(KeysUnavailableError):
            KeySet(Source("url", f"{scheme}://{authority}/jwks", None), ManualClock()).find("rsa")
        taken.append(time.monotonic() - begun)

    cases = [*((drip, "http") for drip in drips), (dripping(b"\x16\x03\x03\x40\x00", b"\0"), "https")]
    readers = [threading.Thread(target=read, args=case) for case in cases]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert len(taken) == len(cases)
    assert all(FETCH_SECONDS - 0.5 < seconds < FETCH_SECONDS + 3 for seconds in taken), taken


def test_a_discovery_document_leads_nowhere_else() -> None:
    """One that names another issuer, or keys at a place without https that is not this machine, gives no key."""
    for document, why in (
        ({"issuer": "https://evil.example", "jwks_uri": "https://evil.example/k"}, "another issuer"),
        ({"jwks_uri": "http://evil.example/k"}, "no https place"),
        ({"jwks_uri": "file:///etc/passwd"}, "no https place"),
        ({"jwks_uri": ["https://evil.example/k"]}, "no https place"),
        ({}, "no https place"),
    ):
        documents: dict[str, Any] = {}

        def answer(connection: socket.socket, documents: dict[str, Any] = documents) -> None:
            whole(json.dumps(documents).encode())(connection)

        with serving(answer) as authority:
            documents.update({"issuer": f"http://{authority}", **document})
            assert why in why_not(Source("discovery", f"http://{authority}", None))


def test_a_server_is_known_by_its_certificate(tmp_path: Path) -> None:
    """Keys come over TLS from a server whose authority is in `ca_file`, and from no other."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with serving(whole(JWKS), context) as place:
        url = f"https://{place}/jwks"
        assert KeySet(Source("url", url, str(tmp_path / "ca.pem")), ManualClock()).find("rsa")
        assert "CERTIFICATE_VERIFY_FAILED" in why_not(Source("url", url, None))
        assert "No such file" in why_not(Source("url", url, str(tmp_path / "none.pem")))


def test_only_public_keys_that_can_be_told_apart_are_used() -> None:
    """Symmetric keys, keys for other purposes, short ones, those without an id and those whose id stands twice are left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        short = RSAKey.generate_key(1024, {"kid": "short"}).as_dict(private=False)
    other = RSAKey.generate_key(2048, {"kid": "ed"}).as_dict(private=False)
    odd = [
        OctKey.import_key("a secret that both sides know", {"kid": "oct"}).as_dict(),
        {**PUBLIC[0], "kid": "enc", "use": "enc"},
        {**PUBLIC[0], "kid": "ops", "key_ops": ["sign"]},
        {**PUBLIC[0], "kid": "alg", "alg": "HS256"},
        {**PUBLIC[0], "kid": 1},
        {name: value for name, value in PUBLIC[0].items() if name != "kid"},
        {**PUBLIC[1], "kid": "crv", "crv": "P-384"},
        {**PUBLIC[1], "kid": "off the curve", "y": PUBLIC[1]["x"]},
        short,
        other,
        "no key",
    ]
    assert sorted(read_jwks(json.dumps({"keys": [*PUBLIC, *odd]}).encode())) == ["ec", "rsa"]


@pytest.mark.parametrize("name", ["RS256", "ES256", "EdDSA"])
def test_a_published_private_key_is_no_key(name: str) -> None:
    """Whoever reads a set with a private key can sign by it, so nothing of that set is used."""
    private = json.dumps({"keys": [*PUBLIC, {**KEYS[name].as_dict(private=True), "kid": "new"}]}).encode()
    with pytest.raises(ValueError, match="private"):
        read_jwks(private)
