"""The routes of outcomes: asserted by systems of record, reported to those who read the ledger."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, get, post
from litestar.params import FromQuery, JSONBody, QueryParameter

from remit.api.answers import Given
from remit.api.bodies import StrictRequest
from remit.api.grants import found, seen
from remit.api.ledger import Under
from remit.api.outcome_bodies import Batch, Kind, OutcomeBody, OutcomeRequest
from remit.api.params import AfterNumber, Injected, PageSize, Since, grant_ref, require_offsets
from remit.api.problems import PROBLEM_RESPONSES, Refusal, refuse
from remit.api.services import Services
from remit.api.sight import Sight
from remit.grants.model import Actor, Grant
from remit.grants.ports import Said
from remit.grants.tree import Tree
from remit.kernel.periods import in_every_zone
from remit.ledger.service import UnknownDimensionError
from remit.outcomes.model import KindReport, Report, Row, Status, Verdict, Wanted
from remit.outcomes.ports import Known
from remit.outcomes.service import assert_outcomes, outcome_comparison, outcome_report

_MAX_DIMENSIONS = 6
OfKind = Annotated[Kind | None, QueryParameter(description="only outcomes of this kind")]
Arm = Annotated[str, QueryParameter(min_length=1, max_length=512, description="a value of `by`")]


class OutcomeJoinGiven(Given, frozen=True, kw_only=True):
    """What of the ledger an event is about."""

    kind: Literal["operation", "trace", "tag", "window"]
    name: str
    value: str
    since: datetime | None
    until: datetime | None


class OutcomeEventGiven(Given, frozen=True, kw_only=True):
    """An event as it is kept. `outcome_id` is the same for all events of one source, kind and subject."""

    seq: int
    outcome_id: str
    source: str
    id: str
    kind: str
    subject: str
    status: Status
    time: datetime
    grant_id: str
    grant_path: str
    value_nanousd: int | None
    evidence_url: str | None
    weight_ppm: int
    joins: list[OutcomeJoinGiven]
    asserted_by: str
    recorded_at: datetime


class OutcomeAssertedGiven(Given, frozen=True, kw_only=True):
    """What became of one event: `is_new` is false where it was recorded before."""

    source: str
    id: str
    outcome_id: str
    seq: int
    is_new: bool


class OutcomesAsserted(Given, frozen=True, kw_only=True):
    """The events of one request, in its order."""

    events: list[OutcomeAssertedGiven]


class OutcomeEventPage(Given, frozen=True, kw_only=True):
    """Events, oldest first; `next` is where the next page begins, null on the last one."""

    events: list[OutcomeEventGiven]
    next: int | None


class OutcomeRowGiven(Given, frozen=True, kw_only=True):
    """One group; amounts in nano-USD. `attributed - earlier + elsewhere + unattributed` is `total`."""

    group: list[str | None]
    outcomes: int
    successes: int
    failures: int
    pending: int
    reversed: int
    attributed_nanousd: int
    failed_nanousd: int
    earlier_nanousd: int
    elsewhere_nanousd: int
    unattributed_nanousd: int
    total_nanousd: int
    suspense_nanousd: int
    cost_per_success_nanousd: int | None
    cost_per_outcome_nanousd: int | None
    value_nanousd: int | None
    valued: int


class OutcomeKindGiven(Given, frozen=True, kw_only=True):
    """One kind of outcomes."""

    kind: str
    rows: list[OutcomeRowGiven]
    total: OutcomeRowGiven


class OutcomeReportGiven(Given, frozen=True, kw_only=True):
    """Cost per outcome; every kind's total is `ledger_nanousd`, what the ledger says was spent."""

    by: list[str]
    since: datetime | None
    until: datetime | None
    kinds: list[OutcomeKindGiven]
    ledger_nanousd: int


class OutcomeIntervalGiven(Given, frozen=True, kw_only=True):
    """Both ends in nano-USD."""

    low: int
    high: int


class OutcomeArmGiven(Given, frozen=True, kw_only=True):
    """One side."""

    name: str
    outcomes: int
    successes: int
    cost_nanousd: int
    cost_per_success_nanousd: int | None
    interval: OutcomeIntervalGiven | None


class OutcomeComparisonGiven(Given, frozen=True, kw_only=True):
    """The second's cost per success less the first's, and where it lies; null where too little is known to say."""

    kind: str
    first: OutcomeArmGiven
    second: OutcomeArmGiven
    in_both: int
    difference_nanousd: int | None
    interval: OutcomeIntervalGiven | None
    verdict: Verdict
    confidence_percent: int
    method: str
    why: str | None


class Outcomes(Controller):
    """What came of the spending."""

    path = "/v1/outcomes"
    tags = ["outcomes"]  # noqa: RUF012 - the framework reads it from the class

    @post(sync_to_thread=True, responses=PROBLEM_RESPONSES, status_code=200, request_class=OutcomeRequest)
    def assert_events(
        self, request: StrictRequest, services: Injected, data: JSONBody[OutcomeBody | Batch]
    ) -> OutcomesAsserted:
        """Keeps what a system of record says, all of it or none; also as CloudEvents. Takes its role, and no grant's own owner."""
        bodies = data if isinstance(data, list) else [data]
        if not bodies:
            return OutcomesAsserted(events=[])
        actor, shown = request.user, request.auth
        with services.repository.read() as reads:
            tree = Tree(reads.load_tree())
        events = [body.event(_grant_of(tree, actor, body.grant).id) for body in bodies]
        now = services.clock.now()
        answer = assert_outcomes(services.outcomes, tree, actor, events, token_id=shown.id, now=now)
        known = [one for one in answer if isinstance(one, Known)]
        if len(known) < len(answer):
            problems = [one for one in answer if not isinstance(one, Known)]
            said = Said(at=now, actor=actor.name, operation="outcome assert")
            asked = {"token": shown.id, "grant": events[0].grant_id}
            services.writes.refuse(said, asked, problems)
            raise Refusal(problems)
        return OutcomesAsserted(events=[_asserted(one) for one in known])

    @get(sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def list_events(  # noqa: PLR0917 - one parameter per query parameter
        self,
        request: StrictRequest,
        services: Injected,
        kind: OfKind = None,
        source: FromQuery[str | None] = None,
        subject: FromQuery[str | None] = None,
        since: Since = None,
        until: Since = None,
        under: Under = None,
        after: AfterNumber = 0,
        limit: PageSize = 100,
    ) -> OutcomeEventPage:
        """Events about the grants whose ledger one reads, oldest first; `since` and `until` are of when they occurred."""
        nodes = _nodes(services, request.user, under)
        wanted: dict[str, Any] = {
            "kind": kind,
            "source": source,
            "subject": subject,
            "since": _utc("since", since),
            "until": _utc("until", until),
        }
        rows = services.outcomes.page(after, limit, **wanted, nodes=None if nodes is None else list(nodes))
        given = [
            OutcomeEventGiven(
                seq=one.seq,
                outcome_id=one.outcome_id,
                source=one.event.source,
                id=one.event.event_id,
                kind=one.event.kind,
                subject=one.event.subject,
                status=one.event.status,
                time=one.event.occurred_at,
                grant_id=one.event.grant_id,
                grant_path=path,
                value_nanousd=one.event.value_nanousd,
                evidence_url=one.event.evidence_url,
                weight_ppm=one.event.weight_ppm,
                joins=[msgspec.convert(join, OutcomeJoinGiven, from_attributes=True) for join in one.event.joins],
                asserted_by=one.asserted_by,
                recorded_at=one.recorded_at,
            )
            for one, path in rows
        ]
        return OutcomeEventPage(events=given, next=given[-1].seq if len(given) == limit else None)

    @get("/report", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def report(  # noqa: PLR0917 - one parameter per query parameter
        self,
        request: StrictRequest,
        services: Injected,
        by: Annotated[str, QueryParameter(description="dimensions or names of tags, separated by commas")] = "grant",
        kind: OfKind = None,
        since: Since = None,
        until: Since = None,
        under: Under = None,
    ) -> OutcomeReportGiven:
        """What outcomes decided in a span cost, by kind and group, and what belongs to none of them."""
        names = tuple(name.strip() for name in by.split(","))
        if len(names) > _MAX_DIMENSIONS:
            detail = f"a report of outcomes has at most {_MAX_DIMENSIONS} dimensions"
            raise refuse("malformed_request", detail, status=400, field="by")
        wanted = Wanted(
            kind=kind,
            since=_utc("since", since),
            until=_utc("until", until),
            nodes=_nodes(services, request.user, under),
            by=names,
        )
        try:
            return _report(outcome_report(services.outcomes, wanted))
        except UnknownDimensionError as error:
            raise refuse("dimension_unknown", str(error), status=400, field="by") from None

    @get("/compare", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def compare(  # noqa: PLR0917 - one parameter per query parameter
        self,
        request: StrictRequest,
        services: Injected,
        kind: Kind,
        first: Arm,
        second: Arm,
        by: Annotated[
            str, QueryParameter(description="`grant`, another dimension, or the name of a tag")
        ] = "experiment",
        since: Since = None,
        until: Since = None,
        under: Under = None,
    ) -> OutcomeComparisonGiven:
        """Whether one of two experiments (or grants, models, ...) costs less per success, with an interval."""
        if first == second:
            raise refuse("arms_equal", f"`{first}` is not compared with itself", field="second")
        nodes = _nodes(services, request.user, under)
        wanted = Wanted(kind=kind, since=_utc("since", since), until=_utc("until", until), nodes=nodes, by=(by,))
        try:
            made = outcome_comparison(services.outcomes, wanted, (first, second))
        except UnknownDimensionError as error:
            raise refuse("dimension_unknown", str(error), status=400, field="by") from None
        return msgspec.convert(made, OutcomeComparisonGiven, from_attributes=True)


def _grant_of(tree: Tree, actor: Actor, ref: str) -> Grant:
    """The grant that is named, for whom it is no secret. Raises Refusal."""
    asserting = Sight(tree, actor, "assert_outcomes").find(ref)
    return asserting if isinstance(asserting, Grant) else found(Sight(tree, actor), ref)


def _nodes(services: Services, actor: Actor, under: str | None) -> tuple[str, ...] | None:
    """The tops of what of the ledger a person reads, None for everything."""
    sight = seen(services, actor, "read_ledger")
    if under is not None:
        return (found(sight, grant_ref(under)).id,)
    tops = sight.tops()
    return None if tops is None else tuple(tops)


def _utc(field: str, instant: datetime | None) -> datetime | None:
    """An end of a span. Raises Refusal for one without an offset, or that some zone's calendar does not hold."""
    require_offsets(**{field: instant})
    if instant is None:
        return None
    if not in_every_zone(instant):
        raise refuse("malformed_request", f"`{field}` is out of range", status=400, field=field)
    return instant.astimezone(UTC)


def _asserted(one: Known) -> OutcomeAssertedGiven:
    kept = one.recorded
    return OutcomeAssertedGiven(
        source=kept.event.source, id=kept.event.event_id, outcome_id=kept.outcome_id, seq=kept.seq, is_new=one.is_new
    )


def _row(row: Row) -> OutcomeRowGiven:
    return msgspec.convert(row, OutcomeRowGiven, from_attributes=True)


def _kind(one: KindReport) -> OutcomeKindGiven:
    return OutcomeKindGiven(kind=one.kind, rows=[_row(row) for row in one.rows], total=_row(one.total))


def _report(report: Report) -> OutcomeReportGiven:
    return OutcomeReportGiven(
        by=list(report.by),
        since=report.since,
        until=report.until,
        kinds=[_kind(one) for one in report.kinds],
        ledger_nanousd=report.ledger_nanousd,
    )
