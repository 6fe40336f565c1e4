"""What a request presents of its holder, and whether that is what its capability demands to be proven."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from remit.capabilities.model import Verified
from remit.capabilities.proofs import Expected, Proof, comparable_url, read_proof
from remit.gateway.wire.exchange import Exchange
from remit.gateway.wire.tls import PeerCertificate
from remit.leases.model import UsedProof

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Credential:
    """The one credential of a request as it was sent; `by_proof` where its scheme was `DPoP`."""

    text: str = field(repr=False)
    by_proof: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """Everything of a request that says who sends it.

    `authorizations` and `proofs` are the values of the headers `authorization` and `dpop`; `bases` the addresses, scheme and
    authority, under which callers may reach this gateway. `certificate` is what this very connection proved, never a header.
    """

    authorizations: tuple[bytes, ...] = field(repr=False)
    proofs: tuple[bytes, ...] = ()
    method: bytes = b"POST"
    path: bytes = b"/"
    bases: tuple[str, ...] = ()
    body: bytes = field(default=b"", repr=False)
    certificate: PeerCertificate | None = None
    digests: list[bytes] = field(default_factory=list, repr=False, compare=False)

    def body_sha256(self) -> bytes:
        """Worked out when first asked for: most requests need no proof, and a body may have megabytes."""
        if not self.digests:
            self.digests.append(hashlib.sha256(self.body).digest())
        return self.digests[0]


def presented_by(exchange: Exchange, public_url: str | None) -> Presented:
    """What an exchange presents. Without a `public_url` callers are taken to use the address in their `host` header."""
    if public_url is not None:
        bases: tuple[str, ...] = (public_url.rstrip("/"),)
    else:
        host = (exchange.header(b"host") or b"").decode("ascii", "replace")
        # Behind a proxy that ends TLS a gateway cannot see which of the two it was.
        bases = (f"https://{host}", f"http://{host}")
    return Presented(
        authorizations=tuple(value for name, value in exchange.headers if name == b"authorization"),
        proofs=tuple(value for name, value in exchange.headers if name == b"dpop"),
        method=exchange.method,
        path=exchange.path,
        bases=bases,
        body=exchange.body,
        certificate=exchange.certificate,
    )


def prove(verified: Verified, credential: Credential, presented: Presented, now: datetime) -> UsedProof | str | None:
    """The proof that was used, None where none was needed, or why what is demanded is not proven.

    Each confirmation of the chain is demanded. Under the scheme `DPoP` a capability that is bound to no key is refused
    (RFC 9449 section 7.1): whoever sends a proof believes that the capability is worth nothing without it.
    """
    wanted = {one.kind: one.value for one in verified.confirmations}
    if credential.by_proof and "jkt" not in wanted:
        return "the capability is not bound to a key, so the scheme `DPoP` is not for it"
    certificate = presented.certificate
    if {"x5t#S256", "spiffe"} & wanted.keys():
        if certificate is None:
            return "possession has to be proven by a client certificate, and the connection has none"
        if certificate.not_after is None or now >= certificate.not_after:
            return "the connection's client certificate has expired"
        if "x5t#S256" in wanted and not hmac.compare_digest(wanted["x5t#S256"], certificate.thumbprint):
            return "the connection's client certificate is not the one the capability names"
        if "spiffe" in wanted and wanted["spiffe"] != certificate.spiffe:
            return "the connection's client certificate does not have the SPIFFE id the capability names"
    return _by_key(wanted["jkt"], credential, presented, now) if "jkt" in wanted else None


def _by_key(jkt: str, credential: Credential, presented: Presented, now: datetime) -> UsedProof | str:
    found = _read(presented.proofs, credential, presented, now)
    if isinstance(found, str):
        return found
    if not hmac.compare_digest(found.jkt, jkt):
        return "the proof is of no use: it is by another key than the capability names"
    return UsedProof(found.id, _EPOCH + timedelta(seconds=found.expires_at))


def _read(proofs: Sequence[bytes], credential: Credential, presented: Presented, now: datetime) -> Proof | str:
    if len(proofs) != 1:
        many = "none" if not proofs else "more than one"
        return f"possession has to be proven by a signed proof in one header `dpop`, and {many} came with the request"
    path = presented.path.decode("latin-1")
    urls = [comparable_url(f"{base}{path}") for base in presented.bases]
    expected = Expected(
        method=presented.method.decode("latin-1"),
        urls=tuple(url for url in urls if url is not None),
        token_sha256=hashlib.sha256(credential.text.encode()).digest(),
        body_sha256=presented.body_sha256,
    )
    found = read_proof(proofs[0].decode("latin-1"), expected, now)
    return found if isinstance(found, Proof) else found.reason
