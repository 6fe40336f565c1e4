"""Certificates of callers: capabilities that name one, or a SPIFFE id, over real TLS."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from remit.capabilities.encoding import encode_base64url
from remit.capabilities.model import Confirmation
from tests.system.capabilities import bearer
from tests.system.harness import System, root
from tests.system.test_proofs import CHAT, Holder

WORKLOAD = "spiffe://acme.example/ns/search/sa/indexer"


@dataclass
class Secured:
    """A Remit that speaks HTTPS, and the authority its callers' certificates come from."""

    system: System
    servers: trustme.CA
    callers: trustme.CA

    def call(self, token: str, certificate: trustme.LeafCert | None, **headers: str) -> httpx.Response:
        """One call over a connection with this client certificate."""
        with self.client(certificate) as client:
            return self.on(client, token, **headers)

    def on(self, client: httpx.Client, token: str, **headers: str) -> httpx.Response:
        sent = {"authorization": f"Bearer {token}", "content-type": "application/json", **headers}
        return client.post(f"https://127.0.0.1:{self.system.port}/v1/chat/completions", content=CHAT, headers=sent)

    def client(self, certificate: trustme.LeafCert | None) -> httpx.Client:
        context = ssl.create_default_context()
        self.servers.configure_trust(context)
        if certificate is not None:
            certificate.configure_cert(context)
        return httpx.Client(verify=context, timeout=30)

    def bound(self, kind: str, value: str) -> str:
        assert kind in ("x5t#S256", "spiffe")
        return bearer(self.system, "acme", Confirmation(kind, value))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Callers may show a certificate of one authority; nobody has to."""
    folder = tmp_path_factory.mktemp("tls")
    servers, callers = trustme.CA(), trustme.CA()
    leaf = servers.issue_cert("127.0.0.1")
    leaf.cert_chain_pems[0].write_to_path(str(folder / "tls.crt"))
    leaf.private_key_pem.write_to_path(str(folder / "tls.key"))
    callers.cert_pem.write_to_path(str(folder / "callers.crt"))
    gateway = {
        "tls_certificate_file": str(folder / "tls.crt"),
        "tls_key_file": str(folder / "tls.key"),
        "tls_client_ca_file": str(folder / "callers.crt"),
    }
    with System(gateway=gateway) as running:
        running.apply({"acme": root("100.00")})
        yield Secured(running, servers, callers)


def thumbprint(certificate: trustme.LeafCert) -> str:
    parsed = x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes())
    return encode_base64url(parsed.fingerprint(SHA256()))


def workload(secured: Secured, *uris: str) -> trustme.LeafCert:
    """A certificate with these URIs among its names, and a host besides."""
    names: list[x509.GeneralName] = [x509.DNSName("indexer.acme.example")]
    names += [x509.UniformResourceIdentifier(uri) for uri in uris]
    plain = secured.callers.issue_cert("indexer.acme.example")
    key_pem = plain.private_key_pem.bytes()
    return _issued(secured.callers, key_pem, plain, names)


def _issued(
    authority: trustme.CA, key_pem: bytes, like: trustme.LeafCert, names: list[x509.GeneralName]
) -> trustme.LeafCert:
    """The same certificate with other names, signed by the same authority."""
    old = x509.load_pem_x509_certificate(like.cert_chain_pems[0].bytes())
    builder = x509.CertificateBuilder(
        issuer_name=old.issuer,
        subject_name=old.subject,
        public_key=old.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=old.not_valid_before_utc,
        not_valid_after=old.not_valid_after_utc,
    )
    for extension in old.extensions:
        value = extension.value
        if isinstance(value, x509.SubjectAlternativeName):
            value = x509.SubjectAlternativeName(names)
        builder = builder.add_extension(value, extension.critical)
    signing = load_pem_private_key(authority.private_key_pem.bytes(), None)
    signed = builder.sign(signing, SHA256())  # type: ignore[arg-type]
    return trustme.LeafCert(key_pem, signed.public_bytes(Encoding.PEM), [])


def refusal(answer: httpx.Response) -> str:
    assert answer.status_code == 401, answer.text
    remit = answer.json()["error"]["remit"]
    assert remit["code"] == "proof_required"
    return str(remit["detail"])


def test_the_certificate_a_capability_names_is_its_proof(secured: Secured) -> None:
    """Whoever holds the named certificate's key is served; another certificate, or none, is refused."""
    mine, other = secured.callers.issue_cert("a.example"), secured.callers.issue_cert("a.example")
    token = secured.bound("x5t#S256", thumbprint(mine))
    with secured.client(mine) as client:
        assert [secured.on(client, token).status_code for _ in range(3)] == [200, 200, 200]
    assert "not the one" in refusal(secured.call(token, other))
    assert "has none" in refusal(secured.call(token, None))


def test_the_spiffe_id_a_capability_names_is_its_proof(secured: Secured) -> None:
    """Any certificate with exactly that id is a proof, also one that was issued later; a longer or second id is not."""
    token = secured.bound("spiffe", WORKLOAD)
    for _ in range(2):
        assert secured.call(token, workload(secured, WORKLOAD)).status_code == 200
    for uris in ([WORKLOAD + "/x"], [WORKLOAD[:-1]], [WORKLOAD, WORKLOAD], [WORKLOAD, "https://a.example"], []):
        assert "SPIFFE" in refusal(secured.call(token, workload(secured, *uris))), uris
    assert "SPIFFE" in refusal(secured.call(token, secured.callers.issue_cert(WORKLOAD.partition("//")[2][:12])))


def test_a_header_is_no_certificate(secured: Secured) -> None:
    """What a header says of a certificate counts for nothing."""
    mine = secured.callers.issue_cert("a.example")
    claimed = {"x-forwarded-client-cert": f"Hash={thumbprint(mine)};URI={WORKLOAD}", "x-client-cert": thumbprint(mine)}
    for token in (secured.bound("x5t#S256", thumbprint(mine)), secured.bound("spiffe", WORKLOAD)):
        assert "has none" in refusal(secured.call(token, None, **claimed))


def test_a_certificate_of_another_authority_gets_no_connection(secured: Secured) -> None:
    """A certificate that the configured authority did not issue ends the handshake, even with the right names."""
    stranger = Secured(secured.system, secured.servers, trustme.CA())
    with pytest.raises(httpx.HTTPError):
        secured.call(secured.bound("spiffe", WORKLOAD), workload(stranger, WORKLOAD))


def test_nobody_else_needs_a_certificate(secured: Secured) -> None:
    """A bearer capability and an access key are served over connections without one, and with one."""
    for token in (bearer(secured.system, "acme"), secured.system.key("acme")):
        assert secured.call(token, None).status_code == 200
        assert secured.call(token, secured.callers.issue_cert("a.example")).status_code == 200


def test_a_certificate_is_no_signed_proof(secured: Secured) -> None:
    """A capability that names a key needs that key, whatever certificate the connection has."""
    key = Ed25519PrivateKey.generate()
    token = bearer(secured.system, "acme", Confirmation("jkt", encode_base64url(bytes(32))))
    assert "signed proof" in refusal(secured.call(token, secured.callers.issue_cert("a.example")))
    holder = Holder(secured.system, token, key, f"https://127.0.0.1:{secured.system.port}")
    answer = secured.call(token, secured.callers.issue_cert("a.example"), dpop=holder.proof())
    assert "another key" in refusal(answer)


def test_certificates_cannot_be_shown_in_the_clear() -> None:
    """Where callers speak plain HTTP a capability that names a certificate is of no use."""
    with System() as system:
        system.apply({"acme": root("1.00")})
        holder = Holder(system, bearer(system, "acme", Confirmation("spiffe", WORKLOAD)), Ed25519PrivateKey.generate())
        assert "has none" in refusal(holder.send(scheme="Bearer"))


def test_an_authority_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """`remit up` ends with a line that says which setting is meant."""
    leaf = trustme.CA().issue_cert("127.0.0.1")
    leaf.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "tls.pem"))
    (tmp_path / "callers.crt").write_text("no certificate\n")
    gateway = {
        "tls_certificate_file": str(tmp_path / "tls.pem"),
        "tls_client_ca_file": str(tmp_path / "callers.crt"),
    }
    system = System(gateway=gateway)
    try:
        with pytest.raises(AssertionError, match=r"remit: `gateway\.tls_client_ca_file`"):
            system.start()
    finally:
        system.__exit__(None, None, None)
