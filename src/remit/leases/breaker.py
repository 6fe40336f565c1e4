"""The runaway breaker's rules: pure, on integers, with a bound on memory and no clock.

A call is counted for its grant, for every block of its capability and for the operation its caller named. Four rules look
at what was counted: calls in a minute, spend in ten minutes against what a limit allows, one prompt over and over, and the
depth of the chain of agents. What breaks one trips: the narrowest scope that most of it comes from, so that its siblings go on.

Bounds: `MAX_WATCHES` scopes are watched in one process, the one that was idle longest is forgotten for a new one; a watch
keeps at most `RING` prompts (8 bytes of a keyed digest and 8 of a time each) and `MAX_TAG_NAMES` tags. That is 2 KiB a watch,
plus its tags. Each call takes a number of steps that does not depend on how many there were.
"""

from array import array
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from remit.kernel.decisions import GrantClass
from remit.leases.model import NodeTerms

ScopeKind = Literal["grant", "block", "operation"]
Rule = Literal["calls", "spend", "repetition", "depth"]
TripMode = Literal["throttle", "stop"]

MAX_WATCHES = 8192
RING = 64
MAX_TAG_NAMES = 16
CALL_CELL_SECONDS = 5
CALL_CELLS = 12
SPEND_CELL_SECONDS = 60
SPEND_CELLS = 10
REPETITION_SECONDS = 300
# Fewer calls in ten minutes are no runaway, whatever they cost: of a small limit one dear call can be half.
LEAST_SPENDERS = 20
# A caller's names are believed so often an hour: who trips under one name after the other trips what the names stand below.
MAX_NARROWED = 3
NARROWED_SECONDS = 3600
_YEAR_SECONDS = 31_556_952
_PERIOD_SECONDS = {"day": 86_400, "week": 604_800, "month": _YEAR_SECONDS // 12, "quarter": _YEAR_SECONDS // 4}
# With fewer calls in the current window the one before says which tags they share.
_ENOUGH_CALLS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """What is too much. A number of None is no rule.

    `calls_per_minute` for a whole grant, `chain_calls_per_minute` for an operation or a block a holder appended.
    `spend_factor` times the pace of the limit, and at least `spend_floor_percent` of the limit, in ten minutes.
    `repetitions` of one prompt among the last 64 calls and within five minutes. `depth` in agents.
    """

    calls_per_minute: int | None
    chain_calls_per_minute: int | None
    spend_factor: int | None
    spend_floor_percent: int
    repetitions: int | None
    depth: int | None


@dataclass(frozen=True, slots=True)
class Scope:
    """What is watched, and trips: a grant, one block of its capabilities (hex id), or an operation its callers named."""

    grant_id: str
    kind: ScopeKind
    subject: str


@dataclass(frozen=True, slots=True)
class SpendPace:
    """The limit in money with the least per second, of those a call counts against: nano-USD per so many seconds."""

    limit_nanousd: int
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedCall:
    """One call. `scopes` from the grant over the blocks in order to the operation. `digest` is 64 bits of a keyed digest.

    `at` is in whole seconds.
    """

    scopes: tuple[Scope, ...]
    depth: int
    digest: int
    tags: Mapping[str, str]
    pace: SpendPace | None
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tripping:
    """A rule that was broken. `measured` against `allowed` in the rule's unit: calls, nano-USD, repetitions or agents.

    `calls` are those of the scope's last minute, `tags` what more than half of them carry.
    """

    scope: Scope
    rule: Rule
    measured: int
    allowed: int
    calls: int
    tags: dict[str, str]


def spend_pace(nodes: Iterable[NodeTerms]) -> SpendPace | None:
    """The limit in money with the least per second of all nodes of a path, None where no period of one comes again."""
    paces = [
        SpendPace(limit.amount, _PERIOD_SECONDS[limit.period])
        for node in nodes
        for limit in node.limits
        if limit.dimension == "usd" and limit.period in _PERIOD_SECONDS
    ]
    return min(paces, key=lambda one: one.limit_nanousd * _YEAR_SECONDS // one.seconds, default=None)


def trip_mode(grant_class: GrantClass) -> TripMode:
    """Production is slowed down, an experiment is stopped."""
    return "throttle" if grant_class == "production" else "stop"


class Cells:
    """A sum over a sliding window: `count` cells of `seconds` each, the current one included."""

    __slots__ = ("_newest", "_seconds", "_sums", "total")

    def __init__(self, count: int, seconds: int) -> None:
        self._sums = array("q", bytes(8 * count))
        self._seconds = seconds
        self._newest = 0
        self.total = 0

    def add(self, amount: int, at: int) -> int:
        """Adds an amount and answers the sum of the window that ends at that second."""
        self._move(at)
        self._sums[self._newest % len(self._sums)] += amount
        self.total += amount
        return self.total

    def at(self, at: int) -> int:
        """The sum of the window that ends at that second."""
        self._move(at)
        return self.total

    def clear(self) -> None:
        """Forgets everything."""
        self._sums = array("q", bytes(8 * len(self._sums)))
        self.total = 0

    def _move(self, at: int) -> None:
        cell = at // self._seconds
        # A clock that was set back goes on in the newest cell.
        if cell <= self._newest:
            return
        count = len(self._sums)
        if cell - self._newest >= count:
            self.clear()
        else:
            for passed in range(self._newest + 1, cell + 1):
                self.total -= self._sums[passed % count]
                self._sums[passed % count] = 0
        self._newest = cell


class Prompts:
    """The digests of the last `RING` prompts and when each came; neither is ever told to anybody."""

    __slots__ = ("_digests", "_place", "_times")

    def __init__(self) -> None:
        self._digests = array("Q")
        self._times = array("q")
        self._place = 0

    def add(self, digest: int, at: int) -> int:
        """Remembers a prompt and answers how often it is among those that are remembered and not too old."""
        if len(self._digests) < RING:
            self._digests.append(digest)
            self._times.append(at)
        else:
            self._digests[self._place] = digest
            self._times[self._place] = at
            self._place = (self._place + 1) % RING
        count = self._digests.count(digest)
        if count < 2 or at - self._times[self._place if len(self._digests) == RING else 0] < REPETITION_SECONDS:
            return count
        return sum(
            one == digest and at - time < REPETITION_SECONDS
            for one, time in zip(self._digests, self._times, strict=True)
        )

    def __len__(self) -> int:
        return len(self._digests)

    def count(self, digest: int) -> int:
        """How often a digest is among those that are remembered, however old."""
        return self._digests.count(digest)

    def clear(self) -> None:
        """Forgets everything."""
        self._digests, self._times, self._place = array("Q"), array("q"), 0


class SharedTags:
    """For each tag the value most calls of a minute share: a majority vote, so one candidate per name is kept."""

    __slots__ = ("_before", "_calls", "_minute", "_votes")

    def __init__(self) -> None:
        self._minute = 0
        self._calls = 0
        # name -> [candidate, votes, calls it was seen in since it is the candidate]
        self._votes: dict[str, list[str | int]] = {}
        self._before: dict[str, str] = {}

    def add(self, tags: Mapping[str, str], at: int) -> None:
        """Counts one call."""
        minute = at // 60
        if minute > self._minute:
            self._before = self._majority() if minute == self._minute + 1 else {}
            self._minute, self._calls, self._votes = minute, 0, {}
        self._calls += 1
        for name, value in tags.items():
            entry = self._votes.get(name)
            if entry is None:
                if len(self._votes) < MAX_TAG_NAMES:
                    self._votes[name] = [value, 1, 1]
            elif entry[0] == value:
                entry[1] += 1  # type: ignore[operator]
                entry[2] += 1  # type: ignore[operator]
            elif entry[1] == 0:
                self._votes[name] = [value, 1, 1]
            else:
                entry[1] -= 1  # type: ignore[operator]

    def shared(self) -> dict[str, str]:
        """Names and values that more than half of the calls carry."""
        return dict(self._majority() if self._calls >= _ENOUGH_CALLS or not self._before else self._before)

    def _majority(self) -> dict[str, str]:
        return {name: str(value) for name, (value, _, seen) in self._votes.items() if int(seen) * 2 > self._calls}


class Watch:
    """What is counted of one scope."""

    __slots__ = ("above", "calls", "narrowed", "narrowed_at", "prompts", "scope", "spend", "spenders", "tags")

    def __init__(self, scope: Scope, above: tuple[Scope, ...]) -> None:
        self.scope = scope
        self.above = above
        self.calls = Cells(CALL_CELLS, CALL_CELL_SECONDS)
        self.spend = Cells(SPEND_CELLS, SPEND_CELL_SECONDS)
        self.spenders = Cells(SPEND_CELLS, SPEND_CELL_SECONDS)
        self.prompts = Prompts()
        self.tags = SharedTags()
        self.narrowed = 0
        self.narrowed_at = 0

    def clear(self) -> None:
        """Begins anew, as after a trip."""
        self.calls.clear()
        self.spend.clear()
        self.spenders.clear()
        self.prompts.clear()

    def note_narrowed(self, at: int) -> None:
        """Counts a trip of something below."""
        if at - self.narrowed_at >= NARROWED_SECONDS:
            self.narrowed, self.narrowed_at = 0, at
        self.narrowed += 1

    def is_worn(self, at: int) -> bool:
        """Whether things below have tripped so often that this is what runs away."""
        return self.narrowed >= MAX_NARROWED and at - self.narrowed_at < NARROWED_SECONDS


class Watches:
    """All that one process watches."""

    def __init__(self, rules: BreakerRules) -> None:
        self.rules = rules
        self._watches: OrderedDict[Scope, Watch] = OrderedDict()

    def __len__(self) -> int:
        return len(self._watches)

    def watch(self, call: WatchedCall) -> Tripping | None:
        """Counts a call that is about to be sent; answers what has to trip because of it, None where nothing has."""
        rules, at = self.rules, call.at
        watches = [self._of(scope, call.scopes[:place]) for place, scope in enumerate(call.scopes)]
        counts = [watch.calls.add(1, at) for watch in watches]
        repeated = [watch.prompts.add(call.digest, at) for watch in watches] if rules.repetitions is not None else []
        for watch in watches:
            watch.tags.add(call.tags, at)
        last = len(watches) - 1
        if rules.depth is not None and call.depth > rules.depth:
            return self._tripping(watches[last], "depth", call.depth, rules.depth, at)
        for place in range(last, -1, -1):
            if rules.repetitions is not None and repeated[place] >= rules.repetitions:
                return self._tripping(watches[place], "repetition", repeated[place], rules.repetitions, at)
            allowed = self._calls_allowed(call, place)
            if allowed is not None and counts[place] > allowed:
                culprit = self._culprit(watches[place], at, spend=False)
                return self._tripping(culprit, "calls", culprit.calls.at(at), allowed, at)
        return self._overspent(watches[0], call)

    def spent(self, scopes: Iterable[Scope], nanousd: int, at: int) -> None:
        """Counts what a call came to, for those of its scopes that are still watched."""
        for scope in scopes:
            watch = self._watches.get(scope)
            if watch is not None:
                watch.spend.add(nanousd, at)
                watch.spenders.add(1, at)

    def forget(self, scope: Scope) -> None:
        """Begins a scope anew, as after its trip."""
        watch = self._watches.get(scope)
        if watch is not None:
            watch.clear()

    def figures(self, scope: Scope, at: int) -> tuple[int, int] | None:
        """Calls of the last minute and nano-USD of the last ten of a scope that is watched."""
        watch = self._watches.get(scope)
        return None if watch is None else (watch.calls.at(at), watch.spend.at(at))

    def repeated(self, scope: Scope, digest: int) -> int:
        """How often a digest is among the last prompts of a scope."""
        watch = self._watches.get(scope)
        return 0 if watch is None else watch.prompts.count(digest)

    def _of(self, scope: Scope, above: tuple[Scope, ...]) -> Watch:
        watch = self._watches.get(scope)
        if watch is None:
            if len(self._watches) >= MAX_WATCHES:
                self._watches.popitem(last=False)
            watch = self._watches[scope] = Watch(scope, above)
        else:
            self._watches.move_to_end(scope)
        return watch

    def _calls_allowed(self, call: WatchedCall, place: int) -> int | None:
        # The first block is as wide as the access key or the capability that was issued: a service, not an agent.
        if place <= 1 and call.scopes[place].kind != "operation":
            return self.rules.calls_per_minute
        return self.rules.chain_calls_per_minute

    def _overspent(self, grant: Watch, call: WatchedCall) -> Tripping | None:
        rules, pace = self.rules, call.pace
        spent = grant.spend.at(call.at)
        if pace is None or rules.spend_factor is None or grant.spenders.at(call.at) < LEAST_SPENDERS:
            return None
        window = SPEND_CELLS * SPEND_CELL_SECONDS
        allowed = max(
            rules.spend_factor * pace.limit_nanousd * window // pace.seconds,
            pace.limit_nanousd * rules.spend_floor_percent // 100,
        )
        if spent <= allowed:
            return None
        culprit = self._culprit(grant, call.at, spend=True)
        return self._tripping(culprit, "spend", culprit.spend.at(call.at), allowed, call.at)

    def _culprit(self, wide: Watch, at: int, *, spend: bool) -> Watch:
        """The narrowest scope below that more than half of it comes from; looked for only when something trips."""
        whole = wide.spend.at(at) if spend else wide.calls.at(at)

        def part(watch: Watch) -> int:
            return watch.spend.at(at) if spend else watch.calls.at(at)

        below = [one for one in self._watches.values() if wide.scope in one.above and part(one) * 2 > whole]
        return min([wide, *below], key=lambda one: (part(one), -len(one.above)))

    def _tripping(self, culprit: Watch, rule: Rule, measured: int, allowed: int, at: int) -> Tripping:
        above = [self._watches[scope] for scope in culprit.above if scope in self._watches]
        worn = next((one for one in above if one.scope.kind != "grant" and one.is_worn(at)), None)
        culprit = worn or culprit
        tripping = Tripping(
            scope=culprit.scope,
            rule=rule,
            measured=measured,
            allowed=allowed,
            calls=culprit.calls.at(at),
            tags=culprit.tags.shared(),
        )
        # What ran away is over now; what it is part of is not to trip for it as well.
        for one in above:
            one.clear()
            if one.scope in culprit.above:
                one.note_narrowed(at)
        culprit.clear()
        return tripping
