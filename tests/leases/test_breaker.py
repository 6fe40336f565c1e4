"""The breaker's rules on a virtual clock: what trips, what does not, and how much memory that takes."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from remit.leases.breaker import (
    MAX_WATCHES,
    RING,
    BreakerRules,
    Cells,
    Prompts,
    Scope,
    SpendPace,
    Tripping,
    WatchedCall,
    Watches,
)

RULES = BreakerRules(
    calls_per_minute=1000,
    chain_calls_per_minute=100,
    spend_factor=8,
    spend_floor_percent=5,
    repetitions=40,
    depth=4,
)
GRANT = Scope("grant_a", "grant", "grant_a")
ISSUED = Scope("grant_a", "block", "0" * 64)
DAY = 86_400


def block(number: int) -> Scope:
    return Scope("grant_a", "block", f"{number:064x}")


def operation(name: str) -> Scope:
    return Scope("grant_a", "operation", f"{'0' * 12}:{name}")


class Play:
    """Calls one after the other; every prompt is another one unless a digest is given."""

    def __init__(self, rules: BreakerRules = RULES, pace: SpendPace | None = None) -> None:
        self.watches = Watches(rules)
        self.pace = pace
        self.number = 0

    def call(
        self, *below: Scope, at: int = 1000, digest: int | None = None, depth: int = 1, nanousd: int = 0, **tags: str
    ) -> Tripping | None:
        self.number += 1
        scopes = (GRANT, ISSUED, *below)
        found = self.watches.watch(
            WatchedCall(
                scopes=scopes,
                depth=depth,
                digest=self.number if digest is None else digest,
                tags=tags,
                pace=self.pace,
                at=at,
            )
        )
        self.watches.spent(scopes, nanousd, at)
        return found


def test_a_prompt_over_and_over_trips_the_agent_that_sends_it() -> None:
    """The fortieth call with one prompt trips the agent's block; a sibling's calls between them trip nothing."""
    play = Play()
    found = []
    for number in range(40):
        assert play.call(block(2), at=1000 + number) is None
        found.append(play.call(block(1), at=1000 + number, digest=7))
    assert found[:39] == [None] * 39
    tripped = found[39]
    assert tripped is not None
    assert (tripped.scope, tripped.rule, tripped.measured, tripped.allowed) == (block(1), "repetition", 40, 40)
    assert play.call(block(2), at=1041) is None


def test_prompts_that_are_old_do_not_count() -> None:
    """One prompt every ten seconds, as a probe sends it, never trips."""
    play = Play()
    assert [play.call(at=1000 + 10 * number, digest=7) for number in range(500)] == [None] * 500


def test_many_agents_of_one_operation_trip_the_operation() -> None:
    """Agents that double with every step trip the operation they name, not the grant, at the call after the allowed ones."""
    play = Play()
    count = 0
    for generation in range(8):
        for number in range(2**generation):
            count += 1
            tripped = play.call(block(1000 * generation + number + 1), operation("run"), at=1000 + generation)
            if tripped is not None:
                assert (count, tripped.rule, tripped.scope) == (101, "calls", operation("run"))
                return
    raise AssertionError("nothing tripped")


def test_a_caller_who_changes_names_trips_what_the_names_stand_below() -> None:
    """Three names are believed; after the fourth one the block itself trips, which no caller can rename."""
    play = Play()
    tripped = []
    for name in "abcd":
        for _ in range(101):
            found = play.call(block(1), operation(name))
            if found is not None:
                tripped.append(found.scope)
    assert tripped[:3] == [operation("a"), operation("b"), operation("c")]
    assert tripped[3] in {block(1), ISSUED}


def test_the_spend_of_one_agent_trips_that_agent_and_not_the_caller_who_met_it() -> None:
    """Where ten minutes cost more than the limit's pace allows, whoever most of it came from trips, not who called next."""
    limit = 1_000_000
    play = Play(pace=SpendPace(limit, DAY))
    allowed = limit * 8 * 600 // DAY
    for _ in range(21):
        assert play.call(block(1), nanousd=allowed // 20) is None
    tripped = play.call(block(2))
    assert tripped is not None
    assert (tripped.scope, tripped.rule, tripped.allowed) == (block(1), "spend", allowed)


def test_what_a_large_limit_hardly_notices_is_no_runaway() -> None:
    """Ten times the pace of a month's limit is let pass below a twentieth of the limit."""
    limit = 100_000_000
    play = Play(pace=SpendPace(limit, 30 * DAY))
    for _ in range(20):
        assert play.call(nanousd=limit * 5 // 100 // 20) is None
    assert play.call(nanousd=1) is None
    assert play.call() is not None


def test_a_few_dear_calls_are_no_runaway() -> None:
    """Nineteen calls may cost a small limit whole; the twentieth makes it a runaway."""
    play = Play(pace=SpendPace(1_000_000, DAY))
    assert [play.call(nanousd=50_000) for _ in range(20)] == [None] * 20
    assert play.call() is not None


def test_a_chain_that_is_too_deep_trips_at_once() -> None:
    """One agent too many below another trips with its first call."""
    play = Play()
    assert play.call(operation("run"), depth=4) is None
    tripped = play.call(operation("run"), depth=5)
    assert tripped is not None and (tripped.rule, tripped.scope) == ("depth", operation("run"))


def test_tags_that_most_calls_share_are_named() -> None:
    """Of a trip's calls the values that more than half of them carry are told, others are not."""
    play = Play()
    found = [play.call(block(1), digest=7, feature="eval", run=str(number)) for number in range(40)]
    assert found[39] is not None and found[39].tags == {"feature": "eval"}


def test_a_million_prompts_take_no_more_memory_than_the_ring() -> None:
    """However many different prompts and scopes there are, what is kept has a bound."""
    prompts = Prompts()
    for number in range(1_000_000):
        prompts.add(number, number)
    assert len(prompts) == RING
    play = Play()
    tracemalloc.start()
    for number in range(MAX_WATCHES + 1000):
        play.call(block(number + 1), at=1000 + number)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(play.watches) == MAX_WATCHES
    assert size < MAX_WATCHES * 4096


@given(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 100)), max_size=60))
def test_a_window_is_the_sum_of_its_cells(steps: list[tuple[int, int]]) -> None:
    """The sliding sum is that of all amounts whose cell is within the window, whatever the gaps."""
    cells, at, added = Cells(12, 5), 1000, []
    for gap, amount in steps:
        at += gap
        added.append((at, amount))
        expected = sum(one for when, one in added if at // 5 - when // 5 < 12)
        assert cells.add(amount, at) == expected


@given(st.lists(st.integers(0, 5), min_size=1, max_size=300))
def test_repetition_is_counted_among_the_last_ones(digests: list[int]) -> None:
    """A prompt is counted as often as it is among the last 64, the one just added included."""
    prompts = Prompts()
    for number, digest in enumerate(digests):
        assert prompts.add(digest, 1000) == digests[max(0, number + 1 - RING) : number + 1].count(digest)
