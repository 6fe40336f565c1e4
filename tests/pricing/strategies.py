"""Random prices and usages within bounds."""

from hypothesis import strategies as st

from remit.kernel.usage import Usage
from remit.pricing.model import Band, ModelPrices, Rates, TierRates

# Half of the prices are odd, so that rounding matters.
amounts = st.one_of(st.integers(0, 200).map(lambda cents: cents * 10_000_000), st.integers(0, 10**11))


@st.composite
def rates(draw: st.DrawFn) -> Rates:
    return Rates(
        input=draw(amounts),
        output=draw(amounts),
        cache_read=draw(st.none() | amounts),
        cache_write=draw(st.none() | amounts),
        input_audio=draw(amounts),
        output_audio=draw(amounts),
        request=draw(st.just(0) | st.integers(0, 10**13)),
    )


@st.composite
def tier_rates(draw: st.DrawFn) -> TierRates:
    starts = sorted(draw(st.sets(st.integers(0, 500), max_size=2)))
    return TierRates(draw(rates()), tuple(Band(start, draw(rates())) for start in starts))


@st.composite
def model_prices(draw: st.DrawFn) -> ModelPrices:
    names = draw(st.sets(st.sampled_from(["flex", "priority", "batch"])))
    return ModelPrices(
        vendor="acme",
        model="model-a",
        names=frozenset({"model-a"}),
        tiers={name: draw(tier_rates()) for name in sorted({"default", *names})},
        source="test",
        also_possible=draw(st.just(()) | st.tuples(st.fixed_dictionaries({"default": tier_rates()}))),
    )


def _split(draw: st.DrawFn, total: int, parts: int) -> list[int]:
    cuts = sorted(draw(st.lists(st.integers(0, total), min_size=parts - 1, max_size=parts - 1)))
    return [high - low for low, high in zip([0, *cuts], [*cuts, total], strict=True)]


@st.composite
def usages(draw: st.DrawFn, max_input: int, max_output: int, *, audio: bool) -> Usage:
    """Any usage within the bounds, split over the kinds in any way."""
    total_input, total_output = draw(st.integers(0, max_input)), draw(st.integers(0, max_output))
    plain, read, write, *heard = _split(draw, total_input, 4 if audio else 3)
    written, *spoken = _split(draw, total_output, 2 if audio else 1)
    return Usage(
        input_tokens=plain,
        cache_read_tokens=read,
        cache_write_tokens=write,
        input_audio_tokens=sum(heard),
        output_tokens=written,
        output_audio_tokens=sum(spoken),
    )
