"""Generated workloads and the rule that casts them: repeatable by seed, and like what they claim to be like."""

from itertools import pairwise
from statistics import fmean, median, pstdev

from hypothesis import given, settings
from hypothesis import strategies as st

from remit.cli.rehearsal.cast import ACTORS, MISTAKES, Rule
from remit.cli.rehearsal.plan import demand_of
from remit.cli.rehearsal.requests import message_of
from remit.testing.load import CONVERSATION, Sample, generate


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 300))
def test_a_seed_makes_one_workload(seed: int, requests: int) -> None:
    """The same seed gives the same arrivals and requests; instants never go backwards, lengths stay in their bounds."""
    first, second = (list(generate(CONVERSATION, requests=requests, seconds=30, seed=seed)) for _ in range(2))
    assert first == second and len(first) == requests and first[0].at_seconds == 0
    assert all(before.at_seconds <= after.at_seconds for before, after in pairwise(first))
    assert all(1 <= one.prompt_tokens <= CONVERSATION.prompt_largest for one in first)
    assert all(1 <= one.output_tokens <= CONVERSATION.output_largest for one in first)
    rule = Rule(seed, vendor_faults_permille=20, every_mistake=True)
    assert list(rule.cast(first)) == list(rule.cast(second))


def test_another_seed_makes_another_workload() -> None:
    """Seeds matter, for the arrivals and for who sends them."""
    one, other = (list(generate(CONVERSATION, requests=50, seconds=30, seed=seed)) for seed in (1, 2))
    assert one != other
    assert list(Rule(1).cast(one)) != list(Rule(2).cast(one))


def test_generated_lengths_and_gaps_follow_the_published_statistics() -> None:
    """Medians within 5%, duration within 10%, gaps burstier than a Poisson process."""
    arrivals = list(generate(CONVERSATION, requests=20_000, seconds=3600, seed=7))
    assert abs(median(one.prompt_tokens for one in arrivals) / CONVERSATION.prompt_median - 1) < 0.05
    assert abs(median(one.output_tokens for one in arrivals) / CONVERSATION.output_median - 1) < 0.05
    assert abs(arrivals[-1].at_seconds / 3600 - 1) < 0.1
    gaps = [after.at_seconds - before.at_seconds for before, after in pairwise(arrivals)]
    assert abs(pstdev(gaps) / fmean(gaps) / CONVERSATION.gap_variation - 1) < 0.1


def test_every_grant_and_every_mistake_has_its_share() -> None:
    """Shares add up to a whole, a short workload has each mistake at least once, and all demand is counted."""
    assert sum(actor.share for actor in ACTORS) == 100
    arrivals = list(generate(CONVERSATION, requests=400, seconds=10, seed=3))
    requests = list(Rule(3, every_mistake=True).cast(arrivals))
    assert {one.mistake for one in requests} == {None, *(kind for kind, _, _ in MISTAKES)}
    assert {one.actor for one in requests} == set(ACTORS)
    demand = demand_of(iter(requests))
    assert demand.total_requests == 400
    assert demand.prompt_tokens == sum(one.prompt_tokens for one in arrivals)
    assert all(amount > 0 for amount in demand.nanousd.values())


def test_a_message_leaves_room_for_the_tokens_it_scripts() -> None:
    """The prompt is at least as long as the tokens it will be billed for, and the output bound covers the answer."""
    arrivals = list(generate(CONVERSATION, requests=100, seconds=10, seed=4))
    for request in Rule(4, vendor_faults_permille=500).cast(arrivals):
        message = message_of(request, "key", pace=10)
        assert len(message.body) > request.arrival.prompt_tokens or request.mistake == "surface_not_allowed"
        assert request.output_bound >= request.arrival.output_tokens


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.integers(1, 100))
def test_a_percentile_is_the_nearest_rank(values: list[float], percent: int) -> None:
    """It is a value that occurred; at least that share lies at or below it, and less than that share below it."""
    found = Sample(values).percentile(percent)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 < percent * len(values)


def test_percentiles_of_a_known_sample() -> None:
    """Of 1 to 100 the n-th percentile is n; of nothing there is none; values may come after a first look."""
    sample = Sample(float(value) for value in range(100, 0, -1))
    assert [sample.percentile(percent) for percent in (1, 50, 99, 100)] == [1, 50, 99, 100]
    sample.add(1000)
    assert sample.largest == 1000
    assert Sample().percentile(50) is None
