"""The public keys of issuers of workload tokens: from a file, a URL, or where an issuer's discovery document says.

Read when first needed and kept for ten minutes. A key that is not known yet has them read again, once a minute at most.
Where they cannot be read, the last ones that could be work for an hour.
"""

import contextlib
import http.client
import json
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from remit.kernel.clock import Clock

_log = structlog.get_logger(__name__)
MAX_JWKS_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 100
FRESH_SECONDS: Final = 600.0
RETRY_SECONDS: Final = 60.0
STALE_SECONDS: Final = 3600.0
FETCH_SECONDS: Final = 5.0
_MIN_RSA_BITS = 2048
_MAX_RSA_BITS = 8192
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "RSA": ("kty", "n", "e"),
    "EC": ("kty", "crv", "x", "y"),
    "OKP": ("kty", "crv", "x"),
}
_USES = (None, "sig", "jwt-svid")

PublicKey = RSAKey | ECKey | OKPKey


class KeysUnavailableError(Exception):
    """The keys cannot be read and there are none from before that are young enough."""


@dataclass(frozen=True, slots=True)
class Source:
    """`kind` is `file`, `url` or `discovery` (then `place` is the issuer); `ca_file` are certificates to trust besides."""

    kind: str
    place: str
    ca_file: str | None


@dataclass(frozen=True, slots=True)
class IssuerPublicKey:
    """A public key and the only algorithms it verifies."""

    key: PublicKey
    algorithms: tuple[str, ...]


class KeySet:
    """The keys of one source. Safe to ask from several threads; only one of them reads at a time."""

    def __init__(self, source: Source, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._reading = threading.Lock()
        self._keys: Mapping[str, IssuerPublicKey] | None = None
        self._read_at = 0.0
        self._tried_at: float | None = None

    def find(self, kid: str) -> IssuerPublicKey | None:
        """The key of that id. Raises KeysUnavailableError."""
        keys = self._keys
        if keys is None or not self._is_younger(FRESH_SECONDS) or kid not in keys:
            self._read_again(kid)
            keys = self._keys
        if keys is None or not self._is_younger(STALE_SECONDS):
            raise KeysUnavailableError(self._source.place)
        return keys.get(kid)

    def _is_younger(self, seconds: float) -> bool:
        return self._clock.monotonic() - self._read_at < seconds

    def _read_again(self, kid: str) -> None:
        # Who has keys to go on with does not wait for another thread's reading.
        usable = self._keys is not None and kid in self._keys and self._is_younger(STALE_SECONDS)
        if not self._reading.acquire(blocking=not usable):
            return
        try:
            tried, now = self._tried_at, self._clock.monotonic()
            if self._keys is not None and kid in self._keys and self._is_younger(FRESH_SECONDS):
                return
            if tried is not None and now - tried < RETRY_SECONDS:
                return
            self._tried_at = now
            self._keys = read_jwks(_load(self._source))
            self._read_at = now
        except (OSError, ValueError, http.client.HTTPException) as error:
            _log.warning("workload_keys_not_read", source=self._source.place, error=str(error)[:300])
        finally:
            self._reading.release()


def read_jwks(document: bytes) -> dict[str, IssuerPublicKey]:
    """The usable keys of a JWK set by their ids. Raises ValueError where the document is none.

    Keys for other purposes, of other kinds or without an id are left out, and so is an id that stands twice: which of
    the two it means could not be told. A set in which a private key stands is none: it was published by mistake.
    """
    value = _json(document)
    listed = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise ValueError(f"not a JWK set with at most {MAX_KEYS} keys")
    keys: dict[str, IssuerPublicKey] = {}
    twice: set[str] = set()
    for one in listed:
        if not isinstance(one, dict) or not isinstance(kid := one.get("kid"), str) or not _is_for_signatures(one):
            continue
        key = _public_key(one)
        if key is None:
            continue
        if "d" in one:
            raise ValueError(f"the key `{kid[:80]}` is a private one: whoever reads the set can sign by it")
        if kid in keys:
            twice.add(kid)
        keys[kid] = key
    return {kid: key for kid, key in keys.items() if kid not in twice}


def _is_for_signatures(one: Mapping[str, Any]) -> bool:
    operations = one.get("key_ops")
    return one.get("use") in _USES and (operations is None or (isinstance(operations, list) and "verify" in operations))


def _public_key(one: Mapping[str, Any]) -> IssuerPublicKey | None:
    members = _MEMBERS.get(str(one.get("kty")))
    if members is None or not all(isinstance(one.get(name), str) for name in members):
        return None
    public = {name: one[name] for name in members}
    try:
        key, algorithms = import_public(public)
    except (JoseError, ValueError, TypeError):
        return None
    stated = one.get("alg")
    allowed = tuple(name for name in algorithms if stated in (None, name))
    return IssuerPublicKey(key, allowed) if allowed else None


def import_public(public: Mapping[str, str]) -> tuple[PublicKey, tuple[str, ...]]:
    """The key of a JWK's public members, and the algorithms it verifies. Raises ValueError or JoseError."""
    match public["kty"], public.get("crv"):
        case "RSA", None:
            # The library warns of short ones on standard error, past the log.
            if len(public["n"]) * 6 < _MIN_RSA_BITS:
                raise ValueError("an RSA key is too short")
            key = RSAKey.import_key(dict(public))
            if not _MIN_RSA_BITS <= key.raw_value.key_size <= _MAX_RSA_BITS:
                raise ValueError("an RSA key is too short or too long")
            return key, ("RS256", "PS256")
        case "EC", "P-256":
            ec = ECKey.import_key(dict(public))
            _ = ec.public_key
            return ec, ("ES256",)
        case "OKP", "Ed25519":
            okp = OKPKey.import_key(dict(public))
            _ = okp.public_key
            return okp, ("EdDSA",)
        case _:
            raise ValueError("a key of this kind is not used")


def _json(document: bytes) -> Any:
    try:
        return json.loads(document)
    except RecursionError:
        raise ValueError("the document is nested too deeply") from None


def _load(source: Source) -> bytes:
    """The JWK set's bytes. Raises OSError, ValueError or HTTPException."""
    if source.kind == "file":
        with Path(source.place).open("rb") as file:
            return _within_bounds(file.read(MAX_JWKS_BYTES + 1))
    if source.kind == "url":
        return _fetch(source.place, source.ca_file)
    document = _json(_fetch(f"{source.place.rstrip('/')}/.well-known/openid-configuration", source.ca_file))
    if not isinstance(document, dict) or document.get("issuer") != source.place:
        raise ValueError("the discovery document names another issuer")
    place = document.get("jwks_uri")
    if not isinstance(place, str) or not _may_follow(source.place, place):
        raise ValueError("the discovery document names no https place of keys")
    return _fetch(place, source.ca_file)


def _may_follow(issuer: str, place: str) -> bool:
    """Only an issuer on this machine may send us to plain http, and only on this machine."""
    here, there = urlsplit(issuer), urlsplit(place)
    if there.scheme == "https":
        return bool(there.hostname)
    return there.scheme == "http" and here.scheme == "http" and there.hostname in LOOPBACK


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


def _fetch(url: str, ca_file: str | None) -> bytes:
    request = urllib.request.Request(  # noqa: S310 - the scheme was checked
        url, headers={"accept": "application/json", "user-agent": "remit"}
    )
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
    return _within_bounds(document)


def _within_bounds(document: bytes) -> bytes:
    if len(document) > MAX_JWKS_BYTES:
        raise ValueError(f"the document is longer than {MAX_JWKS_BYTES} bytes")
    return document
