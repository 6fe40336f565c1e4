"""One HTTP client for all channels: time limits, a bound on answers, no redirects, https unless on this machine."""

import base64
import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from remit.kernel.clock import Clock
from remit.notify.ports import Dead, TryAgain

MAX_ANSWER_BYTES = 1024 * 1024
MAX_WAIT_SECONDS = 24 * 3600
_MAX_WHY_CHARACTERS = 300
# Statuses that say "not now": the rest of 4xx says "never".
_NOT_NOW = frozenset({408, 409, 423, 425, 429})


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Leaves a redirect as the answer it is: what is posted has one receiver."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def reason(error: Exception) -> str:
    """Why a call failed. An address often is a secret, and what is said about one that is malformed quotes it."""
    return str(error) if isinstance(error, OSError) else type(error).__name__


def require_safe(url: str) -> str:
    """The URL, if it is https, or http to this machine. Raises ValueError, which quotes nothing of it."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname and parts.username is None:
        return url.rstrip("/")
    if parts.scheme == "http" and parts.hostname and is_loopback(parts.hostname) and parts.username is None:
        return url.rstrip("/")
    raise ValueError("the address is not https; plain http is for this machine only")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of 200 to 299. `body` is its JSON, {} where there is none; `content` are its bytes."""

    status: int
    body: Any
    headers: Mapping[str, str]
    content: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One other side. `secrets` are kept out of every reason that is given.

    `tls` is for who calls often: without it the authorities are read for each call, so that new ones count at once.
    """

    base_url: str = field(repr=False)
    clock: Clock
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    timeout_seconds: float = 10.0
    ca_file: Path | None = None
    max_answer_bytes: int = MAX_ANSWER_BYTES
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        require_safe(self.base_url)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply | TryAgain | Dead:
        """Sends JSON, or `raw` as it is, and says how it went. Raises nothing for what the other side does."""
        data = raw if raw is not None else (None if body is None else json.dumps(body).encode())
        all_headers = {"user-agent": "remit", "accept": "application/json", **self.headers, **(headers or {})}
        if data is not None and "content-type" not in all_headers:
            all_headers["content-type"] = "application/json; charset=utf-8"
        url = self.base_url.rstrip("/") + path
        try:
            request = urllib.request.Request(  # noqa: S310 - the scheme was checked
                url, data=data, headers=dict(all_headers), method=method
            )
            with self._opener().open(request, timeout=self.timeout_seconds) as answer:
                content = self._read(answer)
                if isinstance(content, TryAgain):
                    return content
                return self._judged(int(answer.status), dict(answer.headers.items()), content)
        except urllib.error.HTTPError as error:
            with error:
                content = self._read(error)
            if isinstance(content, TryAgain):
                content = b""
            return self._judged(error.code, dict(error.headers.items()), content)
        except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
            return TryAgain(None, self._clean(f"no answer: {reason(error)}"))

    def _opener(self) -> urllib.request.OpenerDirector:
        if urlsplit(self.base_url).scheme == "http":
            # Reading the machine's authorities takes longer than a call on this machine.
            return urllib.request.build_opener(NoRedirects)
        context = self.tls or ssl.create_default_context(cafile=None if self.ca_file is None else str(self.ca_file))
        return urllib.request.build_opener(NoRedirects, urllib.request.HTTPSHandler(context=context))

    def _read(self, answer: Any) -> bytes | TryAgain:
        """The body, whole and within its bound and time: a slow one that drips is given up as well."""
        ends = self.clock.monotonic() + self.timeout_seconds
        content = bytearray()
        try:
            while piece := answer.read1(65536):
                content += piece
                if len(content) > self.max_answer_bytes:
                    return TryAgain(None, f"the answer is larger than {self.max_answer_bytes // 2**20} MiB")
                if self.clock.monotonic() > ends:
                    return TryAgain(None, "the answer did not end in time")
        except (http.client.HTTPException, OSError) as error:
            return TryAgain(None, self._clean(f"the answer broke off: {reason(error)}"))
        return bytes(content)

    def _judged(self, status: int, headers: dict[str, str], content: bytes) -> Reply | TryAgain | Dead:
        headers = {name.lower(): value for name, value in headers.items()}
        body: Any = {}
        if content:
            try:
                body = json.loads(content)
            except ValueError:
                body = {}
        if 200 <= status < 300:
            return Reply(status, body, headers, content)
        why = self._clean(f"answered {status}{_said(body)}")
        # GitHub says "too many" with 403 (REST API, "Rate limits for the REST API").
        limited = status == 403 and (headers.get("x-ratelimit-remaining") == "0" or "retry-after" in headers)
        if status >= 500 or status in _NOT_NOW or limited:
            return TryAgain(self._wait(headers), why)
        return Dead(why, status, body)

    def _wait(self, headers: Mapping[str, str]) -> int | None:
        """What Retry-After says (RFC 9110, section 10.2.3): seconds or a date. Or else when GitHub's limit is reset."""
        now = self.clock.now()
        stated = headers.get("retry-after", "").strip()
        seconds: int | None = None
        if stated.isascii() and stated.isdecimal():
            seconds = int(stated[:9])
        elif stated:
            try:
                date = parsedate_to_datetime(stated)
            except ValueError:
                return None
            seconds = int((date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()) + 1
        elif headers.get("x-ratelimit-remaining") == "0" and headers.get("x-ratelimit-reset", "").isdecimal():
            reset = datetime.fromtimestamp(int(headers["x-ratelimit-reset"][:11]), UTC)
            seconds = int((reset - now).total_seconds()) + 1
        return None if seconds is None else max(1, min(seconds, MAX_WAIT_SECONDS))

    def _clean(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return "".join(letter if letter.isprintable() else " " for letter in text)[:_MAX_WHY_CHARACTERS]


def basic(user: str, password: str) -> str:
    """The header `authorization` of RFC 7617."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _said(body: Any) -> str:
    """What the other side said about it, by the names that the APIs use here."""
    if not isinstance(body, Mapping):
        return ""
    for name in ("error", "message", "errorMessages", "errors"):
        if said := body.get(name):
            return f": {_words(said)}"
    return ""


def _words(said: Any) -> str:
    """What was said as text for people: a message where there is one, else JSON."""
    if isinstance(said, str):
        return said
    if isinstance(said, list):
        return ", ".join(map(_words, said))
    if isinstance(said, Mapping) and isinstance(said.get("message"), str):
        return str(said["message"])
    return json.dumps(said, ensure_ascii=False)
