"""Signatures of what is posted, by which a receiver knows who sent it and that nothing was changed."""

import hashlib
import hmac
from dataclasses import dataclass, field

from remit.kernel.clock import Clock

HEADER = "remit-signature"


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs with a secret that the receiver has as well."""

    secret: bytes = field(repr=False)
    clock: Clock

    def header(self, body: bytes) -> str:
        """`t=<unix seconds>,v1=<hex HMAC-SHA256>`. The instant is signed too, so that a receiver can refuse old ones."""
        seconds = str(int(self.clock.now().timestamp()))
        digest = hmac.new(self.secret, seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
        return f"t={seconds},v1={digest}"
