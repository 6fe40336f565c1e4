"""How many input tokens a request can be at most, and how many output tokens it may produce.

The argument and the sources of the constants are in docs/decisions/0005-input-bound.md.
"""

from dataclasses import dataclass

import msgspec

from remit.pricing.model import ModelPrices, Unpriced

# OpenAI's published counting recipe uses 3 tokens per message, 1 per name and 3 to prime the reply (4, -1 and 2 for
# the oldest model). The bounds are more than twice that, for roles that render longer and channels that are added.
MESSAGE_TOKENS = 8
PART_TOKENS = 4  # what may separate the parts of one content
TOOL_CALL_TOKENS = 16
TOOL_TOKENS = 32  # each tool's frame in the text that the list of tools is rendered into
SCHEMA_TOKENS = 64
IMAGE_FRAME_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Overhead:
    """Tokens a vendor adds by itself: `request` to every request, `tools` to one that has tools."""

    request: int
    tools: int


OPENAI_OVERHEAD = Overhead(request=16, tools=64)
# Others put prompts of their own before the caller's: Anthropic documents up to 530 tokens where there are tools, the
# template of gpt-oss adds 61 and that of Llama 3 about 25 to every request.
OTHER_OVERHEAD = Overhead(request=256, tools=1024)


def overhead_of(vendor: str, model: str) -> Overhead:
    """What is added to requests for this model; the constants of OpenAI hold for the models it serves itself."""
    return OPENAI_OVERHEAD if vendor in {"azure", "openai"} and "oss" not in model else OTHER_OVERHEAD


class InputShape(msgspec.Struct, frozen=True, kw_only=True):
    """What of a request becomes input tokens, counted before any tokenizer.

    `text_bytes` are UTF-8 bytes of every text the vendor renders: contents, roles, names, arguments of tool calls.
    `parts` are the parts of contents that are lists, images included.
    `tools_bytes` and `schema_bytes` are bytes of compact JSON with every `$ref` counted as if it were inlined.
    """

    text_bytes: int
    messages: int
    parts: int = 0
    tool_calls: int = 0
    tools: int = 0
    tools_bytes: int = 0
    schemas: int = 0
    schema_bytes: int = 0
    images_low: int = 0
    images_high: int = 0
    images_original: int = 0

    @property
    def images(self) -> int:
        return self.images_low + self.images_high + self.images_original


@dataclass(frozen=True, slots=True)
class ImageTokens:
    """Most tokens one image of each detail level can become; None where the vendor's formula is not known."""

    low: int
    high: int
    original: int | None = None


NO_IMAGES = ImageTokens(low=0, high=0, original=0)


@dataclass(frozen=True, slots=True)
class Unbounded:
    """No sound bound exists, so the request is refused. `reason` is a lower-case clause."""

    reason: str


def input_token_bound(
    shape: InputShape, images: ImageTokens | None, overhead: Overhead, *, exact_text_tokens: int | None = None
) -> int | Unbounded:
    """Most input tokens the vendor can count for a request of this shape.

    `exact_text_tokens` (from the model's own tokenizer) replaces the bytes of the text; everything else stays.
    """
    image_tokens = _image_token_bound(shape, images)
    if isinstance(image_tokens, Unbounded):
        return image_tokens
    text_tokens = shape.text_bytes if exact_text_tokens is None else min(exact_text_tokens, shape.text_bytes)
    bound = overhead.request + text_tokens + shape.messages * MESSAGE_TOKENS
    bound += shape.parts * PART_TOKENS + shape.tool_calls * TOOL_CALL_TOKENS
    if shape.tools:
        bound += overhead.tools + shape.tools * TOOL_TOKENS + shape.tools_bytes
    if shape.schemas:
        bound += shape.schemas * SCHEMA_TOKENS + shape.schema_bytes
    return bound + image_tokens


def _image_token_bound(shape: InputShape, images: ImageTokens | None) -> int | Unbounded:
    if shape.images == 0:
        return 0
    if images is None:
        return Unbounded("how many tokens an image becomes is not known for this model")
    if shape.images_original and images.original is None:
        return Unbounded("how many tokens an image of detail `original` becomes is not known for this model")
    counted = shape.images_low * images.low + shape.images_high * images.high
    return counted + shape.images_original * (images.original or 0) + shape.images * IMAGE_FRAME_TOKENS


def output_token_bound(
    stated: int | None, shape_max: int | None, prices: ModelPrices, *, choices: int = 1
) -> int | Unpriced:
    """Output tokens per choice to hold for and to send: the caller's bound, else the grant's, else the model's.

    `shape_max` is for a whole request, so each of its choices gets an equal part, which can be 0. Where a model states
    no longest output its context window bounds it; where even that is unknown there is no ceiling, so the request is as
    good as unpriced. A caller's bound above the grant's is refused elsewhere.
    """
    if stated is not None:
        return stated
    model_max = prices.context_tokens if prices.max_output_tokens is None else prices.max_output_tokens
    shape_part = None if shape_max is None else shape_max // choices
    known = [bound for bound in (shape_part, model_max) if bound is not None]
    if not known:
        return Unpriced(f"neither the request, the grant nor the price book bounds the output of `{prices.model}`")
    return min(known)
