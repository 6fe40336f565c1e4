"""How many tokens a request can be."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.pricing.input_bound import (
    OPENAI_OVERHEAD,
    ImageTokens,
    InputShape,
    Unbounded,
    input_token_bound,
    output_token_bound,
    overhead_of,
)
from remit.pricing.model import ModelPrices, Rates, TierRates, Unpriced
from remit.providers.openai_tokens import published_encoding


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=300))
def test_a_text_has_at_most_as_many_tokens_as_bytes(name: str, text: str) -> None:
    """The byte bound holds against the real tokenizers, for any text."""
    assert len(published_encoding(name).encode_ordinary(text)) <= len(text.encode())


@pytest.mark.parametrize(
    "text", ["\ue000" * 100, "\U0001d54f" * 50, "a\u0301" * 50, "0123456789" * 20, "<|endoftext|>", "ꙮ", "\x00" * 9]
)
def test_dense_texts_stay_within_their_bytes(text: str) -> None:
    """Private-use characters, combining marks, digits and special tokens written as text come closest and still fit."""
    for name in ("o200k_base", "cl100k_base"):
        assert len(published_encoding(name).encode_ordinary(text)) <= len(text.encode())


SHAPE = InputShape(text_bytes=100, messages=2)


@pytest.mark.parametrize(
    ("shape", "images", "exact", "bound"),
    [
        (SHAPE, None, None, 16 + 100 + 16),
        (SHAPE, None, 25, 16 + 25 + 16),
        (SHAPE, None, 900, 16 + 100 + 16),
        (InputShape(text_bytes=0, messages=1, parts=3), None, None, 16 + 8 + 12),
        (InputShape(text_bytes=0, messages=1, tool_calls=2), None, None, 16 + 8 + 32),
        (InputShape(text_bytes=0, messages=1, tools=2, tools_bytes=300), None, None, 16 + 8 + 64 + 64 + 300),
        (InputShape(text_bytes=0, messages=1, schemas=1, schema_bytes=50), None, None, 16 + 8 + 64 + 50),
        (
            InputShape(text_bytes=0, messages=1, images_low=1, images_high=2),
            ImageTokens(low=85, high=1445),
            None,
            16 + 8 + 85 + 2890 + 24,
        ),
    ],
)
def test_the_bound_adds_up(shape: InputShape, images: ImageTokens | None, exact: int | None, bound: int) -> None:
    """Each part of a request adds its own bound; an exact count replaces the bytes of the text only."""
    assert input_token_bound(shape, images, OPENAI_OVERHEAD, exact_text_tokens=exact) == bound


def test_an_unknown_image_formula_has_no_bound() -> None:
    """Images of a model or a detail whose formula is not known make the request unbounded."""
    seen = InputShape(text_bytes=0, messages=1, images_low=1)
    original = InputShape(text_bytes=0, messages=1, images_original=1)
    assert isinstance(input_token_bound(seen, None, OPENAI_OVERHEAD), Unbounded)
    assert isinstance(input_token_bound(original, ImageTokens(low=1, high=1), OPENAI_OVERHEAD), Unbounded)


@pytest.mark.parametrize(
    ("stated", "shape_max", "choices", "model_max", "context", "bound"),
    [
        (7, 100, 1, 1000, 9000, 7),
        (None, 100, 1, 1000, 9000, 100),
        (None, 100, 3, 1000, 9000, 33),
        (None, 2, 3, 1000, 9000, 0),
        (None, 5000, 1, 1000, 9000, 1000),
        (None, 5000, 2, 1000, 9000, 1000),
        (None, None, 2, 1000, 9000, 1000),
        (None, None, 1, None, 9000, 9000),
        (None, None, 1, None, None, None),
        (7, None, 2, None, None, 7),
    ],
)
def test_the_output_bound(  # noqa: PLR0917 - the columns of the table
    stated: int | None,
    shape_max: int | None,
    choices: int,
    model_max: int | None,
    context: int | None,
    bound: int | None,
) -> None:
    """The caller's bound per choice counts, else the smaller of the choice's part of the grant's and the model's."""
    prices = ModelPrices(
        vendor="acme",
        model="m",
        names=frozenset({"m"}),
        tiers={"default": TierRates(Rates(input=1, output=1))},
        source="test",
        max_output_tokens=model_max,
        context_tokens=context,
    )
    found = output_token_bound(stated, shape_max, prices, choices=choices)
    assert (None if isinstance(found, Unpriced) else found) == bound


@pytest.mark.parametrize(
    ("vendor", "model", "prompt_tokens", "tools"),
    [
        # What is added by the vendor itself, for a request of next to nothing.
        ("anthropic", "claude-3-opus", 530, 1),  # Anthropic, "Tool use": tokens of its tool use system prompt
        ("groq", "openai/gpt-oss-120b", 61, 0),  # the system message of OpenAI's Harmony format, counted in o200k
        ("azure", "gpt-oss-120b", 61, 0),
        ("openai", "gpt-4o", 7, 0),  # OpenAI's cookbook: 3 for the message, 1 for a name, 3 for the reply
    ],
)
def test_what_vendors_add_by_themselves_is_within_the_bound(
    vendor: str, model: str, prompt_tokens: int, tools: int
) -> None:
    """A vendor's own prompts are paid for by the caller, so they are in the bound."""
    shape = InputShape(text_bytes=2, messages=1, tools=tools)
    bound = input_token_bound(shape, None, overhead_of(vendor, model))
    assert isinstance(bound, int) and bound >= prompt_tokens + 2
