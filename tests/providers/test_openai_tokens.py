"""Image formulas and exact counts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.pricing.input_bound import OPENAI_OVERHEAD, ImageTokens, input_token_bound
from remit.providers.openai import ChatRequest, exact_input_tokens, image_tokens, parse_chat_request
from tests.providers.bodies import request


@pytest.mark.parametrize(
    ("vendor", "model", "override", "tokens"),
    [
        ("openai", "gpt-4o", None, ImageTokens(low=85, high=1445)),
        ("openai", "gpt-4o-2024-08-06", None, ImageTokens(low=85, high=1445)),
        ("openai", "gpt-4o-mini", None, ImageTokens(low=2833, high=48_169)),
        ("openai", "o3", None, ImageTokens(low=75, high=1275)),
        ("openai", "gpt-4.1-mini", None, ImageTokens(low=2489, high=2489)),
        ("openai", "gpt-4o-audio", None, None),
        ("openai", "gpt-9", None, None),
        ("openai", "gpt-9", 900, ImageTokens(low=900, high=900, original=900)),
        ("acme", "gpt-4o", None, None),
    ],
)
def test_images_by_exact_model(vendor: str, model: str, override: int | None, tokens: ImageTokens | None) -> None:
    """Known formulas give the worst case of an image; other models have none unless an override says so."""
    assert image_tokens(vendor, model, override=override) == tokens


@pytest.mark.parametrize(
    ("vendor", "model", "tokens"),
    [
        ("openai", "gpt-4o", 2),
        ("openai", "gpt-4o-2024-11-20", 2),
        ("openai", "gpt-4", 2),
        ("openai", "gpt-9", None),
        ("acme", "gpt-4o", None),
    ],
)
def test_exact_counts_by_exact_model(vendor: str, model: str, tokens: int | None) -> None:
    """A model's own published tokenizer counts; a guessed one does not."""
    assert exact_input_tokens(vendor, model, ["hello", " world"]) == tokens


@pytest.mark.parametrize(
    "texts", [["a" * 1_000_000], ["\u4e2d" * 30_000], ["x"] * 5000], ids=["long", "long in bytes", "many"]
)
def test_what_takes_long_to_count_is_not_counted(texts: list[str]) -> None:
    """Above its bounds the count is unknown and the bytes stand; the tokenizer is never handed what it cannot take."""
    assert exact_input_tokens("openai", "gpt-4o", texts) is None


def test_a_tokenizer_that_fails_is_an_unknown_count() -> None:
    """What the package cannot encode does not fail the request."""
    assert exact_input_tokens("openai", "gpt-4o", [b"no text"]) is None  # type: ignore[list-item]


@settings(max_examples=100, deadline=None)
@given(contents=st.lists(st.text(max_size=80), min_size=1, max_size=3))
def test_the_exact_bound_is_never_above_the_byte_bound(contents: list[str]) -> None:
    """Counting exactly can only make room, for any text of any request."""
    found = parse_chat_request(request(messages=[{"role": "user", "content": text} for text in contents]))
    assert isinstance(found, ChatRequest)
    exact = exact_input_tokens("openai", "gpt-4o", found.texts)
    assert exact is not None
    assert exact <= found.shape.text_bytes
    close, far = (
        input_token_bound(found.shape, None, OPENAI_OVERHEAD, exact_text_tokens=exact),
        input_token_bound(found.shape, None, OPENAI_OVERHEAD),
    )
    assert isinstance(close, int) and isinstance(far, int)
    assert exact < close <= far
