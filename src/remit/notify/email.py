"""E-mail: SMTP (RFC 5321) with TLS and a login, multipart text (RFC 2046), threads by ticket (RFC 5322, section 3.6.4)."""

import hashlib
import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape
from pathlib import Path
from typing import Literal

from remit.notify.calls import is_loopback
from remit.notify.ports import Dead, Delivered, Message, Outcome, People, TryAgain

Tls = Literal["starttls", "tls", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """Sends from `sender` through one server. `to` gets what goes to nobody by name. Raises ValueError if made unsafe."""

    host: str
    port: int
    tls: Tls
    user: str | None
    password: str | None = field(repr=False)
    sender: str
    to: tuple[str, ...]
    people: People
    timeout_seconds: float
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        if self.tls == "none" and not is_loopback(self.host):
            raise ValueError("mail without TLS is for this machine only")
        for address in (self.sender, *self.to):
            if not is_address(address):
                raise ValueError(f"`{address[:100]!r}` is no e-mail address")

    def deliver(self, message: Message) -> Outcome:
        """`remote_ref` is the `Message-ID`. One the server takes for some of the recipients only is delivered."""
        people = [self.people.named(person) or person for person in message.recipients] or list(self.to)
        addresses = [address for address in people if is_address(address)]
        if not addresses:
            return Dead("nobody to send it to: no recipient has an e-mail address, and there is no `to`")
        mail = self.composed(message, addresses)
        try:
            with self._connected() as server:
                server.send_message(mail, self.sender, addresses)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            return _failed(max(codes), "no recipient was accepted")
        except smtplib.SMTPAuthenticationError as error:
            return Dead(f"the server refused the login with {error.smtp_code}")
        except smtplib.SMTPResponseException as error:
            return _failed(error.smtp_code, "the server refused the message")
        except smtplib.SMTPNotSupportedError:
            return Dead("the server offers no STARTTLS, or no login, and nothing is sent without")
        except (smtplib.SMTPException, OSError) as error:
            return TryAgain(None, f"the server did not take it: {type(error).__name__}")
        return Delivered(str(mail["message-id"]))

    def composed(self, message: Message, addresses: list[str]) -> EmailMessage:
        """The message; `EmailMessage` refuses line breaks in headers, and titles have none."""
        mail = EmailMessage(policy=SMTP)
        mail["from"], mail["to"], mail["subject"] = self.sender, ", ".join(addresses), f"[remit] {message.title}"
        mail["date"] = format_datetime(message.created_at)
        domain = self.sender.rpartition("@")[2]
        mail["message-id"] = f"<notification-{message.id}@{domain}>"
        if message.ticket:
            # A name nobody has to have received: mail programs put together what refers to the same one.
            root = f"<{hashlib.sha256(message.ticket.id.encode()).hexdigest()[:32]}.ticket@{domain}>"
            mail["references"] = mail["in-reply-to"] = root
        mail["auto-submitted"] = "auto-generated"
        facts = "".join(f"{label}: {value}\n" for label, value in message.facts if value)
        asks = "\n".join(f"- {line}" for line in message.asks)
        mail.set_content("\n\n".join(part for part in (message.text, asks, facts) if part))
        rows = "".join(
            f"<tr><th align=left>{escape(label)}</th><td>{escape(value)}</td></tr>"
            for label, value in message.facts
            if value
        )
        items = "".join(f"<li>{escape(line)}</li>" for line in message.asks)
        listed = f"<ul>{items}</ul>" if items else ""
        mail.add_alternative(f"<p>{escape(message.text)}</p>{listed}<table>{rows}</table>", subtype="html")
        return mail

    def _connected(self) -> smtplib.SMTP:
        context = ssl.create_default_context(cafile=None if self.ca_file is None else str(self.ca_file))
        if self.tls == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(self.host, self.port, timeout=self.timeout_seconds, context=context)
        else:
            server = smtplib.SMTP(self.host, self.port, timeout=self.timeout_seconds)
        try:
            if self.tls == "starttls":
                server.starttls(context=context)
            if self.user is not None and self.password is not None:
                server.login(self.user, self.password)
        except BaseException:
            server.close()
            raise
        return server


def is_address(text: str) -> bool:
    """Whether a text can stand as one address in a header: one `@`, no white space, nothing that begins another field."""
    local, at, domain = text.rpartition("@")
    clean = text.isascii() and text.isprintable() and not any(letter in ' ,;:<>()[]"\\' for letter in text)
    return bool(local and at and domain) and "@" not in local and clean and len(text) <= 254


def _failed(code: int, why: str) -> TryAgain | Dead:
    """4xx replies are passing, 5xx are not (RFC 5321, section 4.2.1)."""
    return Dead(f"{why} ({code})") if code >= 500 else TryAgain(None, f"{why} ({code})")
