"""What is demanded to be proven, and what of a request proves it."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from remit.capabilities.model import Confirmation, Delegate, Verified
from remit.capabilities.proofs import jwk_thumbprint, make_proof, public_jwk
from remit.gateway.proving import Credential, Presented, prove
from remit.gateway.wire.tls import PeerCertificate
from remit.leases.model import UsedProof

NOW = datetime(2027, 3, 5, 12, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
JKT = Confirmation("jkt", jwk_thumbprint(public_jwk(KEY)))
WORKLOAD = "spiffe://acme.example/indexer"
SPIFFE = Confirmation("spiffe", WORKLOAD)
SAN = x509.UniformResourceIdentifier
TOKEN = Credential("rmt1.token", by_proof=False)


def certificate(
    *uris: str, ends: datetime = NOW + timedelta(hours=1), authority: bool | None = None
) -> PeerCertificate:
    """A certificate as a connection hands it over; who signed it was TLS's business."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "indexer")])
    builder = x509.CertificateBuilder(name, name, KEY.public_key(), 1, NOW - timedelta(days=1), ends)
    if uris:
        builder = builder.add_extension(x509.SubjectAlternativeName([SAN(uri) for uri in uris]), critical=False)
    if authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    return PeerCertificate(builder.sign(KEY, None).public_bytes(Encoding.DER))


def chain(*confirmations: Confirmation) -> Verified:
    return Verified(
        kid="k",
        grant="g",
        tenant="acme",
        epoch=0,
        audience="remit",
        issued_at=0,
        not_before=0,
        not_after=2**40,
        delegate=Delegate(0, 0, 0),
        labels={},
        blocks=(),
        confirmations=confirmations,
    )


def proof() -> bytes:
    text = make_proof(
        KEY,
        method="POST",
        url="http://h/v1",
        token=TOKEN.text,
        body_sha256=hashlib.sha256(b"body").digest(),
        now=NOW,
        unique_id="one",
    )
    return text.encode()


def presented(*, signed: bool = False, by: PeerCertificate | None = None) -> Presented:
    return Presented(
        authorizations=(),
        proofs=(proof(),) if signed else (),
        path=b"/v1",
        bases=("https://h", "http://h"),
        body=b"body",
        certificate=by,
    )


def test_everything_that_is_demanded_has_to_be_proven() -> None:
    """Of a chain that demands a key, a certificate and a SPIFFE id, any two are not enough and all three are."""
    mine = certificate(WORKLOAD)
    whole = chain(JKT, SPIFFE, Confirmation("x5t#S256", mine.thumbprint))
    found = prove(whole, TOKEN, presented(signed=True, by=mine), NOW)
    assert isinstance(found, UsedProof)
    assert (len(found.id), found.expires_at) == (32, NOW + timedelta(seconds=420))
    assert isinstance(prove(whole, TOKEN, presented(by=mine), NOW), str)
    assert isinstance(prove(whole, TOKEN, presented(signed=True), NOW), str)
    assert isinstance(prove(whole, TOKEN, presented(signed=True, by=certificate("spiffe://x/y")), NOW), str)
    assert isinstance(prove(whole, TOKEN, presented(signed=True, by=certificate(WORKLOAD, "a:b")), NOW), str)


def test_where_nothing_is_demanded_nothing_is_looked_at() -> None:
    """A bearer's request is served with whatever proof or certificate comes along, and the body is not hashed."""
    whole = presented(signed=True, by=PeerCertificate(b"no certificate"))
    assert prove(chain(), TOKEN, whole, NOW) is None
    assert not whole.digests


def test_a_certificate_alone_leaves_no_proof_behind() -> None:
    """What a certificate proves is no used proof, so it is not to be recorded."""
    assert prove(chain(SPIFFE), TOKEN, presented(by=certificate(WORKLOAD)), NOW) is None


@pytest.mark.parametrize(
    ("by", "why"),
    [
        (certificate(WORKLOAD, ends=NOW), "expired"),
        (PeerCertificate(b"no certificate"), "expired"),
        (certificate(WORKLOAD, authority=True), "SPIFFE"),
        (certificate(), "SPIFFE"),
        (certificate("https://acme.example/indexer"), "SPIFFE"),
        (certificate(WORKLOAD.upper()), "SPIFFE"),
    ],
)
def test_a_certificate_that_is_of_no_use(by: PeerCertificate, why: str) -> None:
    """One that expired while the connection lasted, an authority's own, and one without the exact id are refused."""
    found = prove(chain(SPIFFE), TOKEN, presented(by=by), NOW)
    assert isinstance(found, str) and why in found
    assert prove(chain(SPIFFE), TOKEN, presented(by=certificate(WORKLOAD, authority=False)), NOW) is None
