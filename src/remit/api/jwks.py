"""The public keys of issuers of workload tokens: from a file, a URL, or where an issuer's discovery document says.

Read when first needed and kept for ten minutes. A key that is not known yet has them read again, once a minute at most.
Where they cannot be read, the last ones that could be work for an hour.
"""

import http.client
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from remit.api.fetch import LOOPBACK, MAX_JWKS_BYTES, fetch, within_bounds
from remit.kernel.clock import Clock

_log = structlog.get_logger(__name__)
MAX_KEYS: Final = 100
FRESH_SECONDS: Final = 600.0
RETRY_SECONDS: Final = 60.0
STALE_SECONDS: Final = 3600.0
_MIN_RSA_BITS = 2048
_MAX_RSA_BITS = 8192
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
    value = read_json(document)
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


def read_json(document: bytes) -> Any:
    """The value of a JSON document. Raises ValueError."""
    try:
        return json.loads(document)
    except RecursionError:
        raise ValueError("the document is nested too deeply") from None


def _load(source: Source) -> bytes:
    """The JWK set's bytes. Raises OSError, ValueError or HTTPException."""
    if source.kind == "file":
        with Path(source.place).open("rb") as file:
            return within_bounds(file.read(MAX_JWKS_BYTES + 1))
    if source.kind == "url":
        return fetch(source.place, source.ca_file)
    place = read_discovery(source.place, source.ca_file, "jwks_uri")["jwks_uri"]
    return fetch(place, source.ca_file)


def read_discovery(issuer: str, ca_file: str | None, *members: str) -> dict[str, str]:
    """These addresses of an issuer's discovery document. Raises OSError, ValueError or HTTPException."""
    document = read_json(fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration", ca_file))
    if not isinstance(document, dict) or document.get("issuer") != issuer:
        raise ValueError("the discovery document names another issuer")
    places: dict[str, str] = {}
    for name in members:
        place = document.get(name)
        if not isinstance(place, str) or not may_follow(issuer, place):
            raise ValueError(f"the discovery document names no https place in `{name}`")
        places[name] = place
    return places


def may_follow(issuer: str, place: str) -> bool:
    """Only an issuer on this machine may send us to plain http, and only on this machine."""
    here, there = urlsplit(issuer), urlsplit(place)
    if there.scheme == "https":
        return bool(there.hostname)
    return there.scheme == "http" and here.scheme == "http" and there.hostname in LOOPBACK
