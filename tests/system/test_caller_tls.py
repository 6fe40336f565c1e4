"""Callers over HTTPS: `remit up` with a certificate, and official clients that verify it."""

import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
import trustme

from tests.cli.conftest import HELLO
from tests.system.harness import System, root


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority nobody trusts by default."""
    return trustme.CA()


@pytest.fixture(scope="module")
def secure(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A Remit whose callers speak HTTPS."""
    folder = tmp_path_factory.mktemp("tls")
    leaf = authority.issue_cert("127.0.0.1", "localhost")
    leaf.cert_chain_pems[0].write_to_path(str(folder / "tls.crt"))
    leaf.private_key_pem.write_to_path(str(folder / "tls.key"))
    gateway = {
        "tls_certificate_file": str(folder / "tls.crt"),
        "tls_key_file": str(folder / "tls.key"),
        "workers": 2,
    }
    with System(gateway=gateway) as running:
        yield running


def verifying(authority: trustme.CA) -> httpx.Client:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return httpx.Client(verify=context)


def test_a_gateway_with_a_certificate_becomes_ready_and_says_https(secure: System) -> None:
    """The address that `remit up` prints is the one that answers."""
    deadline = time.monotonic() + 30
    ready = f"remit is up: gateway https://127.0.0.1:{secure.port}/v1, api http://"
    while ready not in secure.log.read_text():
        assert time.monotonic() < deadline, secure.log.read_text()[-3000:]
        time.sleep(0.05)


def test_official_clients_call_and_stream_over_https(secure: System, authority: trustme.CA) -> None:
    """With the certificate verified, answers and streams arrive and are booked as they are in the clear."""
    secure.apply({"acme": root("1.00")})
    with verifying(authority) as http:
        client = openai.OpenAI(
            base_url=f"https://127.0.0.1:{secure.port}/v1", api_key=secure.key("acme"), max_retries=0, http_client=http
        )
        answer = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, max_tokens=20)
        assert answer.choices[0].message.content
        chunks = client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, max_tokens=20, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert http.get(f"https://localhost:{secure.port}/healthz").json() == {"status": "ok"}
    assert secure.spent("acme") == secure.vendor.books().total_nanousd > 0
    assert len(secure.entries("acme")) == 2


def test_nobody_is_served_without_verifying_or_in_the_clear(secure: System) -> None:
    """A client that does not trust the certificate gives up, and one that speaks plain HTTP gets nothing."""
    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        httpx.get(f"https://127.0.0.1:{secure.port}/healthz")
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{secure.port}/healthz")


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """`remit up` ends with a line that says which settings are meant."""
    (tmp_path / "tls.crt").write_text("no certificate\n")
    system = System(gateway={"tls_certificate_file": str(tmp_path / "tls.crt")})
    try:
        with pytest.raises(AssertionError, match=r"remit: `gateway\.tls_certificate_file`"):
            system.start()
    finally:
        system.__exit__(None, None, None)
