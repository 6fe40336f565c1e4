"""Webhooks over real HTTP."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from remit.notify.signature import Signer
from remit.notify.webhook import Webhook
from remit.testing.clock import ManualClock


class Receiver:
    """An HTTP server that remembers what was posted and answers with `status`."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.raw: list[tuple[str | None, bytes]] = []
        self.status = 204
        self.location: str | None = None
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.bodies.append(json.loads(body))
                receiver.raw.append((self.headers.get("remit-signature"), body))
                self.send_response(receiver.status)
                if receiver.location is not None:
                    self.send_header("location", receiver.location)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Keeps the test's output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.url = f"http://{self.host}/pages"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of pages."""
    running = Receiver()
    yield running
    running.server.shutdown()
    running.server.server_close()


PAGE = {"id": 7, "kind": "threshold", "body": {"path": "acme"}, "webhook": None}


def test_a_page_is_posted_as_json(receiver: Receiver) -> None:
    """The body is the notification without the address it was sent to."""
    assert Webhook(receiver.url, (), 5).send(PAGE)
    assert receiver.bodies == [{"id": 7, "kind": "threshold", "body": {"path": "acme"}}]


@pytest.mark.parametrize("status", [301, 400, 500])
def test_anything_but_success_is_not_delivered(receiver: Receiver, status: int) -> None:
    """Such a page is tried again later, and no redirect is followed."""
    receiver.status, receiver.location = status, receiver.url
    assert not Webhook(receiver.url, (), 5).send(PAGE)
    assert len(receiver.bodies) == 1


def test_an_unreachable_receiver_is_not_delivered(receiver: Receiver) -> None:
    """A refused connection is an answer, not an exception."""
    receiver.server.shutdown()
    receiver.server.server_close()
    assert not Webhook(receiver.url, (), 1).send(PAGE)


@pytest.mark.parametrize("address", ["http://127.0.0.1:hunter2/", "http://127.0.0.1/hunter2 x"])
def test_an_address_that_cannot_be_used_is_not_logged(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever may post there is whoever knows the address, so the line about a failure does not have it."""
    assert not Webhook(address, (), 1).send(PAGE)
    logged = capsys.readouterr().out
    assert "notification_not_delivered" in logged and "hunter2" not in logged


def test_a_grants_own_webhook_is_used_only_where_its_host_is_listed(receiver: Receiver) -> None:
    """Owners cannot make the server call whatever it can reach."""
    page = {**PAGE, "webhook": receiver.url}
    assert Webhook(None, (), 5).send(page)
    assert receiver.bodies == []
    assert Webhook(None, (receiver.host,), 5).send(page)
    assert len(receiver.bodies) == 1


def test_a_host_is_allowed_on_its_own_port_only(receiver: Receiver) -> None:
    """A host without a port does not open the other ports of that machine."""
    page = {**PAGE, "webhook": receiver.url}
    assert Webhook(None, ("127.0.0.1", "127.0.0.1:1"), 5).send(page)
    assert receiver.bodies == []


@pytest.mark.parametrize(
    ("listed", "url", "called"),
    [
        ("hooks.example", "https://hooks.example/x", True),
        ("Hooks.Example", "https://HOOKS.example:443/x", True),
        ("hooks.example", "http://hooks.example/x", True),
        ("hooks.example:443", "https://hooks.example/x", True),
        ("hooks.example:443", "http://hooks.example/x", False),
        ("hooks.example", "https://hooks.example:8443/x", False),
        ("hooks.example", "http://hooks.example:443/x", False),
        ("hooks.example:8443", "https://hooks.example:8443/x", True),
        ("hooks.example:8443", "https://hooks.example/x", False),
        ("hooks.example", "https://hooks.example@evil.example/x", False),
        ("hooks.example", "https://hooks.example.evil.example/x", False),
        ("hooks.example", "ftp://hooks.example/x", False),
        ("hooks.example", "https://hooks.example:99999/x", False),
        ("hooks.example", "https://[", False),
        ("[::1]:8080", "http://[::1]:8080/x", True),
        ("[::1]", "http://[::1]/x", True),
        ("[::1]", "http://[::1]:8080/x", False),
    ],
)
def test_which_urls_of_owners_are_called(listed: str, url: str, called: bool) -> None:
    """Host and port have to be listed; a host alone is the scheme's own port."""
    assert Webhook(None, (listed,), 5)._is_listed(url) is called


@pytest.mark.parametrize(
    "listed", ["", "hooks.example:", "hooks.example:x", "https://hooks.example", "a@b", "a/b", "::1"]
)
def test_what_is_no_host_is_refused(listed: str) -> None:
    """A mistake in the list is said at the start, not found out when a page does not arrive."""
    with pytest.raises(ValueError, match=r"not `host`|[Pp]ort"):
        Webhook(None, (listed,), 5)


def test_a_page_is_signed_with_the_secret(receiver: Receiver) -> None:
    """The header has the instant and the HMAC-SHA256 of instant and body; without a secret there is none."""
    clock = ManualClock(datetime(2027, 1, 1, tzinfo=UTC))
    signer = Signer(b"sixteen bytes and more", clock)
    assert Webhook(receiver.url, (), 5, signer).send(PAGE) and Webhook(receiver.url, (), 5).send(PAGE)
    (header, body), (absent, _) = receiver.raw
    digest = hmac.new(b"sixteen bytes and more", b"1798761600." + body, hashlib.sha256).hexdigest()
    assert header == f"t=1798761600,v1={digest}" and absent is None
    assert "sixteen" not in repr(signer)


def test_other_schemes_are_refused() -> None:
    """A file is not a webhook."""
    with pytest.raises(ValueError, match="not an http or https URL"):
        Webhook("file:///etc/passwd", (), 5)
