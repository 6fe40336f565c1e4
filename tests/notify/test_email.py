"""Mail over a real SMTP server with STARTTLS and a login."""

import socket
import ssl
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from remit.notify.email import Mail, is_address
from remit.notify.ports import Dead, Delivered, People, TryAgain
from tests.notify.letters import message, page, ticket


class Inbox:
    """Keeps what arrives; says `reply` instead, if it is set."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.reply: str | None = None

    async def handle_DATA(  # noqa: N802 - aiosmtpd names it
        self, server: Any, session: Any, envelope: Any
    ) -> str:
        if self.reply is not None:
            return self.reply
        self.mails.append(cast("EmailMessage", message_from_bytes(envelope.content, policy=policy.default)))
        self.recipients.append(envelope.rcpt_tos)
        return "250 taken"


class AnyPort(Controller):
    """Looks itself up under the port it got."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


class Server:
    """A mail server that takes nothing before STARTTLS and a login."""

    def __init__(self, folder: Path) -> None:
        self.inbox = Inbox()
        authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca_file)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        self.controller = AnyPort(
            self.inbox,
            hostname="127.0.0.1",
            port=0,
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            authenticator=self._authenticate,
        )
        self.controller.start()
        self.port = self.controller.port

    def _authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        right = LoginPassword(b"remit", b"hunter2-hunter2")
        return AuthResult(success=data == right, handled=False)

    def mail(self, **more: Any) -> Mail:
        made: dict[str, Any] = {
            "host": "127.0.0.1", "port": self.port, "tls": "starttls", "user": "remit", "password": "hunter2-hunter2",
            "sender": "remit@acme.example", "to": ("oncall@acme.example",), "people": People(), "timeout_seconds": 5,
            "ca_file": self.ca_file,
        }  # fmt: skip
        return Mail(**{**made, **more})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A running mail server."""
    running = Server(tmp_path)
    yield running
    running.controller.stop()


def test_a_mail_says_it_in_text_and_threads_by_ticket(server: Server) -> None:
    """Two mails about one ticket refer to the same name; each has an id that a repetition has again."""
    opened = server.mail().deliver(message())
    decided = server.mail().deliver(message("ticket_decided", id=8, ticket=ticket("approved")))
    assert opened == Delivered("<notification-7@acme.example>") and isinstance(decided, Delivered)
    first, second = server.inbox.mails
    assert first["references"] == second["references"] and first["message-id"] != second["message-id"]
    body = first.get_body(("plain",))
    assert body is not None and "asks for $58,000 a month instead of $41,000" in body.get_content().replace("\n", " ")
    assert first.get_body(("html",)) is not None
    assert server.inbox.recipients[0] == ["bob@acme.example"]


def test_a_mail_says_what_is_asked_line_by_line(server: Server) -> None:
    """As lines of text and as items of the HTML, where nothing of it is markup."""
    server.mail().deliver(message(ticket=ticket(evidence={"asks": ["limit per day: 1 -> 2", "models: <b>"]})))
    (mail,) = server.inbox.mails
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None and text.get_content().splitlines()[1:5] == [
        "",
        "- limit per day: 1 -> 2",
        "- models: <b>",
        "",
    ]
    assert html is not None
    assert "<ul><li>limit per day: 1 -&gt; 2</li><li>models: &lt;b&gt;</li></ul>" in html.get_content()


def test_what_is_for_nobody_by_name_goes_to_the_address_of_the_settings(server: Server) -> None:
    """A page to on-call has no recipients of its own."""
    server.mail().deliver(page())
    assert server.inbox.recipients == [["oncall@acme.example"]]
    assert isinstance(server.mail(to=()).deliver(page()), Dead)


def test_nobody_can_write_headers(server: Server) -> None:
    """Line breaks in names become spaces in the subject, and an address with one is no address."""
    evil = "x\r\nBcc: eve@evil.example"
    assert isinstance(server.mail().deliver(page(path=evil)), Delivered)
    (mail,) = server.inbox.mails
    assert mail["bcc"] is None and server.inbox.recipients == [["oncall@acme.example"]]
    assert isinstance(server.mail().deliver(message(recipients=["bob@acme.example\r\nBcc: eve@evil.example"])), Dead)
    assert not is_address("a@b,c@d") and not is_address("a b@c") and is_address("ann@acme.example")


@pytest.mark.parametrize(("reply", "kind"), [("451 later", TryAgain), ("552 never", Dead)])
def test_a_passing_reply_is_tried_again(server: Server, reply: str, kind: type) -> None:
    """Replies of 4xx pass, those of 5xx do not."""
    server.inbox.reply = reply
    assert isinstance(server.mail().deliver(message()), kind)


def test_a_wrong_password_is_dead_and_not_in_the_reason(server: Server) -> None:
    """Nobody is let in by trying again."""
    wrong = server.mail(password="wrong-but-secret")
    got = wrong.deliver(message())
    assert isinstance(got, Dead) and "login" in got.why and "wrong-but-secret" not in got.why + repr(wrong)


def test_an_unknown_authority_is_not_trusted(server: Server) -> None:
    """The server's certificate is verified before the password is sent."""
    assert isinstance(server.mail(ca_file=None).deliver(message()), TryAgain)
    assert server.inbox.mails == []


def test_a_server_that_is_away_is_tried_again(server: Server) -> None:
    """A refused connection is an outcome, not an exception."""
    with socket.socket() as taken:  # bound, and never listening
        taken.bind(("127.0.0.1", 0))
        away = server.mail(port=taken.getsockname()[1], timeout_seconds=1)
        assert isinstance(away.deliver(message()), TryAgain)


def test_mail_without_tls_is_for_this_machine_only() -> None:
    """Neither a password nor a page goes over the network in the clear."""
    with pytest.raises(ValueError, match="without TLS"):
        Mail(
            host="mail.acme.example", port=25, tls="none", user=None, password=None, sender="remit@acme.example",
            to=(), people=People(), timeout_seconds=1,
        )  # fmt: skip
