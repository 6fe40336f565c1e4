"""What is fetched from issuers and providers: within a time and a size, from whom it is asked, without redirects."""

import contextlib
import http.client
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode

MAX_JWKS_BYTES: Final = 256 * 1024
FETCH_SECONDS: Final = 5.0
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Whoever is trusted for keys answers himself."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class _Deadline:
    """Ends the connections of one request once its time is up; a socket's own limit is for each read and each write alone."""

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        for one in self._sockets:
            one.close()

    def covers(self, connected: socket.socket) -> None:
        """From now on the connection ends in time, also while TLS begins, which takes the socket itself over."""
        self._sockets.append(connected.dup())
        if self.is_over:
            self._end()

    def _end(self) -> None:
        self.is_over = True
        for one in self._sockets:
            # It may have been ended by the other side, or be closed by now.
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def _opener(ca_file: str | None, deadline: _Deadline) -> urllib.request.OpenerDirector:
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)

    class Plain(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            deadline.covers(self.sock)

    class Encrypted(http.client.HTTPSConnection, Plain):
        """What it calls to be connected, before TLS begins, is the method above."""

    class PlainHandler(urllib.request.HTTPHandler):
        def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Plain, request)

    class EncryptedHandler(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Encrypted, request, context=context)

    return urllib.request.build_opener(_NoRedirects, PlainHandler, EncryptedHandler)


def fetch(
    url: str, ca_file: str | None, form: Mapping[str, str] | None = None, authorization: str | None = None
) -> bytes:
    """The body of the answer; with a form it is a POST. Raises OSError, ValueError or HTTPException."""
    headers = {"accept": "application/json", "user-agent": "remit"}
    if authorization is not None:
        headers["authorization"] = authorization
    data = None if form is None else urlencode(form).encode()
    request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310 - the scheme was checked
    document = b""
    with _Deadline(FETCH_SECONDS) as deadline:
        try:
            with _opener(ca_file, deadline).open(request, timeout=FETCH_SECONDS) as answer:
                # Chunks or not, a read gives what is there: too much of it is noticed early.
                while len(document) <= MAX_JWKS_BYTES and (part := answer.read1(65_536)):
                    document += part
        except urllib.error.HTTPError as error:
            error.close()
            raise ValueError(f"the answer has status {error.code}") from None
        except (OSError, http.client.HTTPException):
            if not deadline.is_over:
                raise
        # A connection that was ended looks like one whose answer is complete.
        if deadline.is_over:
            raise ValueError(f"the answer was not there within {FETCH_SECONDS:.0f} seconds")
    return within_bounds(document)


def within_bounds(document: bytes) -> bytes:
    """The document. Raises ValueError where it is too long."""
    if len(document) > MAX_JWKS_BYTES:
        raise ValueError(f"the document is longer than {MAX_JWKS_BYTES} bytes")
    return document
