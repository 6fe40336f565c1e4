"""A keyed digest by which this process, and nobody else, knows a prompt again."""

import hashlib
import secrets

from remit.providers.openai import ChatRequest

# Of longer texts only so many characters from both ends, and the length: whatever repeats itself repeats these.
MAX_CHARACTERS = 65_536


class PromptDigests:
    """The key is made at random, never leaves the process and ends with it: a digest says nothing to anybody else."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def of(self, request: ChatRequest, body: bytes) -> int:
        """64 bits. White space and case make no difference; pictures do, so that with them the whole body counts."""
        shape = request.shape
        if shape.images_low or shape.images_high or shape.images_original:
            text = body
        else:
            text = " ".join(bounded("\n".join(request.texts)).casefold().split()).encode("utf-8", "replace")
        digest = hashlib.blake2b(request.model.encode("utf-8", "replace"), digest_size=8, key=self._key)
        digest.update(b"\0")
        digest.update(text)
        return int.from_bytes(digest.digest(), "big")


def bounded(text: str) -> str:
    """The text, or both of its ends with the length between."""
    if len(text) <= MAX_CHARACTERS:
        return text
    half = MAX_CHARACTERS // 2
    return f"{text[:half]} {len(text)} {text[-half:]}"
