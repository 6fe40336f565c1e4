"""The runaway breaker at work in one process: what a call is counted for, what holds it, what it came to."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta

from remit.gateway.decide import Admission
from remit.gateway.prompts import PromptDigests
from remit.gateway.snapshot import Leaf, TreeSnapshot
from remit.gateway.wire.exchange import Exchange
from remit.kernel.decisions import RefusalCode, Refused
from remit.kernel.ids import new_id
from remit.leases.breaker import (
    BreakerRules,
    Scope,
    SpendPace,
    Tripping,
    WatchedCall,
    Watches,
    spend_pace,
    trip_mode,
)
from remit.leases.trips import Trip, Trips
from remit.providers.openai import Problem
from remit.settings import BreakerSettings

_OPERATION = re.compile(r"[A-Za-z0-9._:-]{1,64}(?:/[A-Za-z0-9._:-]{1,64}){0,31}")
Record = Callable[[Trip, Tripping, int, Callable[[Trip], None]], None]


def operation_of(exchange: Exchange) -> str | Problem | None:
    """What the caller says this call is a part of: `remit-operation: run-42/planner/searcher`, an agent a segment."""
    values = [value for name, value in exchange.headers if name == b"remit-operation"]
    if not values:
        return None
    text = values[0].decode("ascii", "replace").strip()
    if len(values) > 1 or not _OPERATION.fullmatch(text):
        detail = "header `remit-operation`: names of 1 to 64 letters, digits, `.`, `_`, `:` or `-`, separated by `/`, at most 32"
        return Problem(RefusalCode.malformed_request, detail)
    return text


class Breaking:
    """Watches calls, trips, and holds what has tripped. `record` makes a trip known to the whole fleet."""

    def __init__(self, settings: BreakerSettings, record: Record) -> None:
        self._settings = settings
        self._record = record
        self._watches = Watches(rules_of(settings))
        self._trips = Trips(settings.throttle_rpm)
        self._digests = PromptDigests()
        self._paces: dict[str, tuple[Leaf, SpendPace | None]] = {}
        self._running: dict[str, tuple[Scope, ...]] = {}

    def install(self, snapshot: TreeSnapshot) -> None:
        """Goes by the trips of this tree."""
        self._trips.install(snapshot.trips, snapshot.revision)
        self._paces.clear()

    def refusal(
        self, admission: Admission, body: bytes, operation: str | None, request_id: str, now: datetime
    ) -> Refused | None:
        """Why the call is not to be sent, None where it is. A call is counted once, however often this is asked."""
        if not self._settings.enabled:
            return None
        scopes = self._running.get(request_id)
        is_new = scopes is None
        if scopes is None:
            scopes = self._running[request_id] = _scopes(admission, operation)
        trip = self._trips.holding(scopes, now)
        if trip is None and is_new and (tripping := self._watch(admission, body, operation, scopes, now)) is not None:
            trip = self._trip(tripping, admission, now)
            if trip.scope not in scopes:
                return None
        if trip is None or (is_new and self._trips.serves(trip, now)) or (not is_new and trip.mode == "throttle"):
            return None
        node = admission.principal.leaf.grant.leaf
        return self._trips.refusal(trip, node.path, node.owner, now)

    def spent(self, request_id: str, nanousd: int, now: datetime) -> None:
        """Counts what a call came to."""
        self._watches.spent(self._running.get(request_id, ()), nanousd, int(now.timestamp()))

    def done(self, request_id: str) -> None:
        """The request was answered."""
        self._running.pop(request_id, None)

    def _watch(
        self, admission: Admission, body: bytes, operation: str | None, scopes: tuple[Scope, ...], now: datetime
    ) -> Tripping | None:
        leaf = admission.principal.leaf
        known = self._paces.get(leaf.grant.leaf.id)
        if known is None or known[0] is not leaf:
            known = self._paces[leaf.grant.leaf.id] = (leaf, spend_pace(leaf.terms))
        named = 0 if operation is None else operation.count("/") + 1
        return self._watches.watch(
            WatchedCall(
                scopes=scopes,
                depth=max(len(admission.principal.verified.block_ids), named),
                digest=self._digests.of(admission.request, body),
                tags=admission.tags.tags,
                pace=known[1],
                at=int(now.timestamp()),
            )
        )

    def _trip(self, tripping: Tripping, admission: Admission, now: datetime) -> Trip:
        seconds = self._settings.cool_down_seconds
        trip = Trip(
            id=new_id("trip", now),
            scope=tripping.scope,
            rule=tripping.rule,
            measured=tripping.measured,
            allowed=tripping.allowed,
            mode=trip_mode(admission.principal.leaf.grant.grant_class),
            until=now + timedelta(seconds=seconds),
        )
        self._trips.add(trip)
        self._record(trip, tripping, seconds, lambda known: self._trips.recorded(tripping.scope, known))
        return trip


def rules_of(settings: BreakerSettings) -> BreakerRules:
    """The rules that settings state; 0 is none."""
    return BreakerRules(
        calls_per_minute=settings.calls_per_minute or None,
        chain_calls_per_minute=settings.chain_calls_per_minute or None,
        spend_factor=settings.spend_factor or None,
        spend_floor_percent=settings.spend_floor_percent,
        repetitions=settings.repetitions or None,
        depth=settings.depth or None,
    )


def _scopes(admission: Admission, operation: str | None) -> tuple[Scope, ...]:
    grant_id = admission.principal.leaf.grant.leaf.id
    blocks = admission.principal.verified.block_ids
    scopes = [Scope(grant_id, "grant", grant_id), *(Scope(grant_id, "block", block) for block in blocks)]
    if operation is not None:
        # Below the first block: nobody can trip another holder's operation by calling theirs the same.
        scopes.append(Scope(grant_id, "operation", f"{blocks[0][:12]}:{operation.partition('/')[0]}"))
    return tuple(scopes)
