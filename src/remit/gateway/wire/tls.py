"""TLS towards vendors: always verified."""

import ssl
from pathlib import Path


def vendor_ssl_context(extra_ca_file: Path | None = None) -> ssl.SSLContext:
    """The system's trust store plus, when given, the PEM certificates of one file. Host names are verified.

    OSError or ssl.SSLError when the file cannot be read or holds no certificate.
    """
    context = ssl.create_default_context()
    if extra_ca_file is not None:
        context.load_verify_locations(cafile=str(extra_ca_file))
    context.set_alpn_protocols(["http/1.1"])
    return context
