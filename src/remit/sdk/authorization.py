"""Authorization of each request by the capability and the tags that are current when it is sent."""

import hashlib
import os
import secrets
from collections.abc import Callable, Generator
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from remit.kernel.clock import SystemClock
from remit.sdk.capability import Capability, as_capability
from remit.sdk.context import current, current_tags, tag_header
from remit.sdk.errors import CapabilityError

if TYPE_CHECKING:
    import httpx

BASE_URL = "REMIT_BASE_URL"
_PORTS = {"http": 80, "https": 443}

Sign = Callable[[str, str, bytes], str]
"""(method, URL, body) to the value of the header `dpop`: proves possession of the key a capability names."""


def gateway_url(base_url: str | None) -> str:
    """Where the gateway is, without a path of a surface; else as $REMIT_BASE_URL says. Raises CapabilityError."""
    text = (base_url or os.environ.get(BASE_URL, "")).rstrip("/").removesuffix("/v1")
    if not text.startswith(("http://", "https://")):
        raise CapabilityError("missing", f"where is the gateway? Give `base_url`, or set {BASE_URL}, to its URL")
    return text


def httpx_auth(
    capability: Capability | str | None = None,
    *,
    base_url: str | None = None,
    sign: Sign | None = None,
    private_key: bytes | None = None,
) -> "httpx.Auth":
    """An `auth` for a client of httpx (or httpx2): sends the capability and the tags, and proofs of possession.

    Proofs are made with `private_key` (Ed25519, 32 bytes), or by `sign`, for a key that is kept elsewhere.
    Without `capability` it is the one that is current when a request is sent. With `base_url` it goes to that origin alone,
    and any other raises CapabilityError (`another_gateway`) rather than be handed the secret.
    """
    origin = None if base_url is None else _origin(base_url)
    fixed = None if capability is None else as_capability(capability)
    return cast("httpx.Auth", _auth_class()(fixed, origin, sign, private_key))


class _Authorization:
    """The flow itself; which library's `Auth` it is as well is seen when it is first needed."""

    requires_request_body = True  # a proof covers the body

    def __init__(
        self,
        capability: Capability | None,
        origin: tuple[str, ...] | None,
        sign: Sign | None,
        private_key: bytes | None,
    ) -> None:
        self._capability = capability
        self._origin = origin
        self._sign = sign
        self._private_key = private_key

    def auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        if self._origin is not None and _origin(str(request.url)) != self._origin:
            raise CapabilityError(
                "another_gateway", f"the capability is not for `{request.url.host}`: nothing was sent"
            )
        capability = self._capability or current()
        headers = request.headers
        # Tags are UTF-8; a library that has only seen ASCII so far would insist on it.
        headers.encoding = "utf-8"
        headers["authorization"] = f"Bearer {capability.token}"
        # The placeholder that a client library insists on.
        headers.pop("x-api-key", None)
        tags = tag_header(current_tags(), headers.get("remit-tags"))
        if tags is not None:
            headers["remit-tags"] = tags
        # A proof of possession is made here, anew for each attempt.
        if self._sign is not None:
            headers["dpop"] = self._sign(request.method, str(request.url), request.content)
        elif self._private_key is not None:
            headers["dpop"] = _proof(self._private_key, request, capability.token)
        yield request


def _proof(private_key: bytes, request: Any, token: str) -> str:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from remit.capabilities.proofs import make_proof

    return make_proof(
        Ed25519PrivateKey.from_private_bytes(private_key),
        method=request.method,
        url=str(request.url),
        token=token,
        body_sha256=hashlib.sha256(request.content).digest(),
        now=SystemClock().now(),
        unique_id=secrets.token_urlsafe(16),
    )


def _origin(url: str) -> tuple[str, ...]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", str(parts.port or _PORTS.get(parts.scheme))


@cache
def _auth_class() -> type[Any]:
    """The flow as an `Auth` of every such library that is here: the vendors' clients use one or the other."""
    bases: list[type[Any]] = []
    for name in ("httpx", "httpx2"):
        try:
            bases.append(import_module(name).Auth)
        except ModuleNotFoundError:
            continue
    if not bases:
        raise ModuleNotFoundError("authorizing requests takes the package httpx")
    return type("RemitAuth", (_Authorization, *bases), {})
