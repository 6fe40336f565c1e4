"""How many tokens a request can be."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.pricing.input_bound import ImageTokens, InputShape, Unbounded, input_token_bound, output_token_bound
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
    assert input_token_bound(shape, images, exact_text_tokens=exact) == bound


def test_an_unknown_image_formula_has_no_bound() -> None:
    """Images of a model or a detail whose formula is not known make the request unbounded."""
    seen = InputShape(text_bytes=0, messages=1, images_low=1)
    original = InputShape(text_bytes=0, messages=1, images_original=1)
    assert isinstance(input_token_bound(seen), Unbounded)
    assert isinstance(input_token_bound(original, ImageTokens(low=1, high=1)), Unbounded)


@pytest.mark.parametrize(
    ("stated", "shape_max", "model_max", "context", "bound"),
    [
        (7, 100, 1000, 9000, 7),
        (None, 100, 1000, 9000, 100),
        (None, 5000, 1000, 9000, 1000),
        (None, None, 1000, 9000, 1000),
        (None, None, None, 9000, 9000),
        (None, None, None, None, None),
        (7, None, None, None, 7),
    ],
)
def test_the_output_bound(
    stated: int | None, shape_max: int | None, model_max: int | None, context: int | None, bound: int | None
) -> None:
    """The caller's bound counts, else the smaller of the grant's and the model's; with none there is no ceiling."""
    prices = ModelPrices(
        vendor="acme",
        model="m",
        names=frozenset({"m"}),
        tiers={"default": TierRates(Rates(input=1, output=1))},
        source="test",
        max_output_tokens=model_max,
        context_tokens=context,
    )
    found = output_token_bound(stated, shape_max, prices)
    assert (None if isinstance(found, Unpriced) else found) == bound
