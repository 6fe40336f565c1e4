"""TLS towards vendors, always verified; and what a caller's certificate says."""

import hashlib
import ssl
from datetime import datetime
from functools import cached_property
from pathlib import Path

from cryptography import x509

from remit.capabilities.encoding import encode_base64url


class PeerCertificate:
    """A client certificate that TLS verified on this connection. Read when first asked, once per connection."""

    def __init__(self, der: bytes) -> None:
        self.der = der

    @cached_property
    def thumbprint(self) -> str:
        """Base64url of the SHA-256 over its DER form (RFC 8705 section 3.1): `x5t#S256`."""
        return encode_base64url(hashlib.sha256(self.der).digest())

    @cached_property
    def spiffe(self) -> str | None:
        """Its SPIFFE id, None where it has none: a leaf with one URI among its names, and that one `spiffe://`."""
        parsed = self._parsed
        if parsed is None:
            return None
        try:
            names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            uris = names.get_values_for_type(x509.UniformResourceIdentifier)
            if self._may_sign(parsed) or len(uris) != 1 or not uris[0].startswith("spiffe://"):
                return None
        # What OpenSSL let pass may still be odd: extensions twice, names of unknown kinds, bytes that are no text.
        except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
            return None
        return uris[0]

    @cached_property
    def not_after(self) -> datetime | None:
        """The instant from which it is expired, None where it cannot be read. A connection may outlive its certificate."""
        return None if self._parsed is None else self._parsed.not_valid_after_utc

    @cached_property
    def _parsed(self) -> x509.Certificate | None:
        try:
            return x509.load_der_x509_certificate(self.der)
        except ValueError:
            return None

    @staticmethod
    def _may_sign(parsed: x509.Certificate) -> bool:
        """Whether it is an authority's own certificate, which is nobody's SPIFFE id (X509-SVID section 4.1)."""
        try:
            return parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            return False


def vendor_ssl_context(extra_ca_file: Path | None = None) -> ssl.SSLContext:
    """The system's trust store plus, when given, the PEM certificates of one file. Host names are verified.

    OSError or ssl.SSLError when the file cannot be read or holds no certificate.
    """
    context = ssl.create_default_context()
    if extra_ca_file is not None:
        context.load_verify_locations(cafile=str(extra_ca_file))
    context.set_alpn_protocols(["http/1.1"])
    return context
