"""What is known about OpenAI's tokenizers and image formulas, by exact model."""

import re
import warnings
from collections.abc import Collection
from functools import cache
from typing import Any

from remit.pricing.input_bound import ImageTokens

# A process counts while nobody else is served: at most some 50 ms for the densest text of this size. Longer texts are
# not cut into pieces, because nothing proves that the tokens of the pieces are as many as those of the whole.
MAX_EXACT_BYTES = 64 << 10
MAX_EXACT_TEXTS = 4096

_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")

# Encodings OpenAI publishes per model (tiktoken, `model.py`); a model not named there has an unknown tokenizer.
_ENCODINGS = {
    **dict.fromkeys(
        (
            "gpt-4o", "gpt-4o-mini", "chatgpt-4o-latest", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "gpt-5",
            "gpt-5-mini", "gpt-5-nano", "gpt-5-chat-latest", "o1", "o3", "o3-mini", "o4-mini",
        ),
        "o200k_base",
    ),
    **dict.fromkeys(("gpt-4", "gpt-4-turbo", "gpt-3.5-turbo"), "cl100k_base"),
}  # fmt: skip


def _tiles(base: int, tile: int) -> ImageTokens:
    """Tile formula: an image is fitted into 2048 x 2048, then its short side to 768: at most 4 x 2 tiles of 512."""
    return ImageTokens(low=base, high=base + 8 * tile)


def _patches(multiplier_percent: int) -> ImageTokens:
    """Patch formula: at most 1536 patches of 32 x 32 pixels times a multiplier; `detail` saves nothing for sure."""
    most = -(-1536 * multiplier_percent // 100)
    return ImageTokens(low=most, high=most)


# OpenAI's vision guide, `calculating costs`. `gpt-4.1` is documented with both formulas, so the larger one counts;
# the multipliers of the small gpt-5 models are documented higher than they are billed, so the documented ones count.
_IMAGES = {
    "gpt-4o": _tiles(85, 170),
    "gpt-4-turbo": _tiles(85, 170),
    "gpt-4o-mini": _tiles(2833, 5667),
    "o1": _tiles(75, 150),
    "o3": _tiles(75, 150),
    "gpt-5": _tiles(70, 140),
    "gpt-5-chat-latest": _tiles(70, 140),
    "gpt-4.1": _patches(100),
    "gpt-4.1-mini": _patches(162),
    "gpt-4.1-nano": _patches(246),
    "gpt-5-mini": _patches(162),
    "gpt-5-nano": _patches(246),
    "o4-mini": _patches(172),
}


def image_tokens(vendor: str, model: str, *, override: int | None = None) -> ImageTokens | None:
    """Most tokens one image can become, or None where OpenAI's formula for the model is not known here.

    `override` is the price book's `max_image_tokens` and stands for every level of detail.
    """
    if override is not None:
        return ImageTokens(low=override, high=override, original=override)
    if vendor != "openai":
        return None
    return _IMAGES.get(_DATED.sub("", model))


def exact_input_tokens(vendor: str, model: str, texts: Collection[str]) -> int | None:
    """Tokens of the texts in the model's own tokenizer; None where that is unknown or not installed.

    Also None above `MAX_EXACT_BYTES`, and where the tokenizer fails: the byte bound stands then. Costs milliseconds, so
    it is for requests that do not fit by the byte bound. Template overhead is not in it (`input_token_bound` adds it).
    """
    name = _ENCODINGS.get(_DATED.sub("", model)) if vendor == "openai" else None
    if name is None or not _is_small(texts):
        return None
    encoding = published_encoding(name)
    if encoding is None:
        return None
    try:
        return sum(len(encoding.encode_ordinary(text)) for text in texts)
    except Exception:  # noqa: BLE001 - whatever the package raises, the bound by bytes holds without it
        return None


def _is_small(texts: Collection[str]) -> bool:
    if len(texts) > MAX_EXACT_TEXTS or sum(map(len, texts)) > MAX_EXACT_BYTES:
        return False
    return sum(len(text) if text.isascii() else len(text.encode()) for text in texts) <= MAX_EXACT_BYTES


@cache
def published_encoding(name: str) -> Any:
    """The tokenizer of that name, loaded once (a quarter of a second); None where the package is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # how the package opens its own data files
            import bpe_openai  # noqa: PLC0415 - an optional package, large, and needed rarely
    except ImportError:
        return None
    return bpe_openai.get_encoding(name)
