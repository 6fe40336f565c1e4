"""The signature `X-Hub-Signature-256: sha256=<hex>`: GitHub's webhooks, and Jira Cloud's as `X-Hub-Signature`."""

import hashlib
import hmac


def is_signed(secret: bytes, header: str, body: bytes) -> bool:
    """Whether the body was signed with the secret; compared in constant time."""
    if not header.isascii():
        return False
    right = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(right, header)
