"""A keyed digest by which this process, and nobody else, knows a prompt again."""

import hashlib
import secrets

from remit.providers.openai import ChatRequest

# White space and case are made the same in shorter texts only: in longer ones that takes longer than the hash.
MAX_NORMALISED = 8_192
# Of texts beyond that only so many characters from both ends, and the length: whatever repeats itself repeats these.
MAX_CHARACTERS = 262_144


class PromptDigests:
    """The key is made at random, never leaves the process and ends with it: a digest says nothing to anybody else."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def of(self, request: ChatRequest, body: bytes) -> int:
        """64 bits. In short prompts white space and case make no difference; with pictures the whole body counts."""
        shape = request.shape
        if shape.images_low or shape.images_high or shape.images_original:
            text = body
        else:
            text = normalised("\n".join(request.texts)).encode("utf-8", "replace")
        digest = hashlib.blake2b(request.model.encode("utf-8", "replace"), digest_size=8, key=self._key)
        digest.update(b"\0")
        digest.update(text)
        return int.from_bytes(digest.digest(), "big")


def normalised(text: str) -> str:
    """A short text without regard to white space and case, a long one as it is, of a very long one both ends and the length."""
    if len(text) <= MAX_NORMALISED:
        return " ".join(text.casefold().split())
    if len(text) <= MAX_CHARACTERS:
        return text
    half = MAX_CHARACTERS // 2
    return f"{text[:half]} {len(text)} {text[-half:]}"
