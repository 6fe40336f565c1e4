"""What goes wrong before a request is sent: a capability that cannot be used, or not as asked."""

from typing import Literal

ErrorCode = Literal[
    "invalid", "expired", "not_yet_valid", "proof_required", "access_key", "missing", "ttl_too_long", "terms_invalid",
    "another_gateway",
]  # fmt: skip


class CapabilityError(ValueError):
    """A capability is of no use here. `code` is for programs, `reason` one lower-case phrase without any secret.

    Codes: `invalid` (no token, or its blocks do not fit), `expired`, `not_yet_valid`, `proof_required` (its holder's key is
    needed), `access_key` (an access key cannot be narrowed offline), `missing` (none is in use), `ttl_too_long` (`strict`),
    `terms_invalid` (a term is out of its range, or the text becomes too long), `another_gateway`.
    """

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason

    def __reduce__(self) -> tuple[type["CapabilityError"], tuple[ErrorCode, str]]:
        return type(self), (self.code, self.reason)
