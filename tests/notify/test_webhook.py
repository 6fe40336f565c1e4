"""Webhooks over real HTTP."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from remit.notify.webhook import Webhook


class Receiver:
    """An HTTP server that remembers what was posted and answers with `status`."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.status = 204
        self.location: str | None = None
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(receiver.status)
                if receiver.location is not None:
                    self.send_header("location", receiver.location)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Keeps the test's output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/pages"
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
    assert Webhook(None, ("127.0.0.1",), 5).send(page)
    assert len(receiver.bodies) == 1


def test_other_schemes_are_refused() -> None:
    """A file is not a webhook."""
    with pytest.raises(ValueError, match="not an http or https URL"):
        Webhook("file:///etc/passwd", (), 5)
