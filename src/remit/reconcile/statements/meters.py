"""Which meter a vendor's words mean. What is not understood is `other`, with its text kept beside it."""

import re
from typing import Final

from remit.reconcile.statements.model import Meter

_WORDS: Final = re.compile(r"[^a-z0-9]+")
# The first that matches counts: cached input before input, audio before text.
_RULES: Final[tuple[tuple[str, Meter], ...]] = (
    (r"\bcache\b.*\bstorage\b|\bstorage\b", "storage"),
    (r"\bcach\w* (write|creation|creating)\b.*\b(1h|1 hour|1hour|ephemeral 1h)\b|\bephemeral 1h\b", "cache_write_1h"),
    (r"\bcach\w* (writ\w*|creat\w*)\b|\bwrit\w* (to )?cache\b|\bephemeral 5m\b|\bcachewrite\b", "cache_write"),
    (r"\bcach\w* (reads?|hits?|input|prompt|in|inp|text)\b|\b(input|prompt|read)\w* cach\w*\b|\bcached\b|\bcc?hd\b|\bcacheread\b", "cache_read"),
    (r"\b(embedding|embeddings|moderation|moderations)\b", "input"),
    (r"\b(aud|audio)\b.*\b(in|inp|input|prompt)\b|\b(in|inp|input|prompt)\b.*\b(aud|audio)\b", "input_audio"),
    (r"\b(aud|audio)\b.*\b(out|outp|opt|output|completion)\b|\b(out|outp|output|completion)\b.*\b(aud|audio)\b", "output_audio"),
    (r"\b(img|image)\b.*\b(in|inp|input|prompt)\b|\b(in|inp|input|prompt)\b.*\b(img|image)\b", "input_image"),
    (r"\b(reasoning|thinking)\b.*\btokens?\b|^(reasoning|thinking)$", "reasoning"),
    (r"\bweb search\w*\b|\bsearch calls?\b|\bgrounding\b", "web_search"),
    (r"\bcode (execution|interpreter)\b", "code_execution"),
    (r"\bsession\w*\b", "session"),
    (r"\b(transcri\w*|speech to text|whisper)\b|\baudio seconds?\b", "audio_seconds"),
    (r"\bcharacters?\b|\btext to speech\b", "characters"),
    (r"\b(in|inp|inpt|input|prompt|uncached)\b", "input"),
    (r"\b(out|outp|outpt|opt|output|completion|generated)\b", "output"),
    (r"\bimages?\b", "images"),
    (r"\brequests?\b|\binvocations?\b", "requests"),
)  # fmt: skip
_COMPILED: Final = tuple((re.compile(pattern), meter) for pattern, meter in _RULES)


def words_of(text: str) -> str:
    """Lower-case words with single blanks between them; `InputTokens` is two words."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return _WORDS.sub(" ", split.lower()).strip()


def meter_of(text: str) -> Meter:
    """The meter that these words name; `other` where they name none."""
    words = words_of(text)
    return next((meter for pattern, meter in _COMPILED if pattern.search(words)), "other")
