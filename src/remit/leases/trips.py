"""Trips of the breaker: which of them holds a call, and what its caller is told. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from remit.grants.words import amount_text
from remit.kernel.decisions import RefusalCode, Refused
from remit.leases.breaker import Rule, Scope, TripMode
from remit.leases.terms import path_of_block


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """A trip in effect until `until`. `recorded_at` is the tree revision that has it, None where it is not recorded yet."""

    id: str
    scope: Scope
    rule: Rule
    measured: int
    allowed: int
    mode: TripMode
    until: datetime
    recorded_at: int | None = None


class Trips:
    """The trips one process goes by: those of the tree and those of its own that are not there yet."""

    def __init__(self, throttle_per_minute: int) -> None:
        self._throttle = throttle_per_minute
        self._trips: dict[Scope, Trip] = {}
        # scope -> (minute, calls served in it)
        self._served: dict[Scope, tuple[int, int]] = {}

    def add(self, trip: Trip) -> None:
        """Goes by a trip of this process's own."""
        self._trips[trip.scope] = trip

    def recorded(self, asked: Scope, trip: Trip) -> None:
        """What became of a trip that was asked for: another scope's, or one that another gateway was first with."""
        self._trips.pop(asked, None)
        self._trips[trip.scope] = trip

    def install(self, trips: Iterable[Trip], revision: int) -> None:
        """Goes by the trips of a tree, and by those of its own that the tree does not know yet."""
        known = {trip.scope: trip for trip in trips}
        for scope, trip in self._trips.items():
            if scope not in known and (trip.recorded_at is None or trip.recorded_at > revision):
                known[scope] = trip
        self._trips = known
        self._served = {scope: served for scope, served in self._served.items() if scope in known}

    def holding(self, scopes: Iterable[Scope], now: datetime) -> Trip | None:
        """The trip that one of these scopes is held by, the widest first."""
        if not self._trips:
            return None
        for scope in scopes:
            trip = self._trips.get(scope)
            if trip is None:
                continue
            if trip.until > now:
                return trip
            del self._trips[scope]
            self._served.pop(scope, None)
        return None

    def serves(self, trip: Trip, now: datetime) -> bool:
        """Whether a trip that throttles lets one more call through in this minute, and if so counts it."""
        if trip.mode == "stop":
            return False
        minute = int(now.timestamp()) // 60
        at, served = self._served.get(trip.scope, (minute, 0))
        served = served if at == minute else 0
        if served >= self._throttle:
            return False
        self._served[trip.scope] = (minute, served + 1)
        return True

    def refusal(self, trip: Trip, path: str, owner: str, now: datetime) -> Refused:
        """What a caller is told whose call a trip holds."""
        what = {
            "grant": f"`{path}`",
            "block": f"`{path_of_block(path, trip.scope.subject)}`",
            "operation": f"operation `{trip.scope.subject.partition(':')[2]}` of `{path}`",
        }[trip.scope.kind]
        ends = f"{trip.until:%Y-%m-%dT%H:%M:%SZ}"
        why = sentence(trip.rule, trip.measured, trip.allowed)
        stopped = Refused(
            code=RefusalCode.policy_forbidden,
            detail=f"{what} was stopped by the runaway breaker: {why}; it ends at {ends}, "
            f"or when `remit breaker end {trip.id}` does; ask `{owner}`",
            path=path,
            resets_at=trip.until,
            owner=owner,
            policy_ids=(f"breaker.{trip.rule}",),
            extra={"trip": trip.id, "rule": trip.rule, "measured": trip.measured, "allowed": trip.allowed},
        )
        if trip.mode == "stop":
            return stopped
        wait = max(1, 60 - int(now.timestamp()) % 60)
        return replace(
            stopped,
            code=RefusalCode.rate_limited,
            status=429,
            transient=True,
            detail=f"{what} was throttled by the runaway breaker to {self._throttle:,} calls per minute: {why}; "
            f"it ends at {ends}, or when `remit breaker end {trip.id}` does; ask `{owner}`",
            dimension="requests",
            period="minute",
            limit=self._throttle,
            posted=self._throttle,
            held=0,
            required=1,
            retry_after_seconds=wait,
        )


def sentence(rule: Rule, measured: int, allowed: int) -> str:
    """What broke a rule, with its numbers."""
    if rule == "calls":
        return f"{measured:,} calls in a minute, {allowed:,} are allowed"
    if rule == "spend":
        return f"{amount_text('usd', measured)} in ten minutes, {amount_text('usd', allowed)} are allowed"
    if rule == "repetition":
        return f"one prompt {measured:,} times in the last 64 calls, less than {allowed:,} are allowed"
    return f"a chain of {measured:,} agents, {allowed:,} are allowed"
