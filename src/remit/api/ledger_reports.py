"""Totals, forecasts, unit costs, coverage and budgets, of what a person owns or has a role for."""

import csv
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Controller, get
from litestar.params import QueryParameter

from remit.api.answers import Given, GroupGiven
from remit.api.bodies import StrictRequest
from remit.api.grants import found, seen
from remit.api.ledger import Only, Under, ledger_of, names_of
from remit.api.params import Injected, Since, grant_ref, require_offsets
from remit.api.problems import PROBLEM_RESPONSES, refuse
from remit.kernel.decisions import GrantClass
from remit.kernel.periods import PeriodKind
from remit.ledger.model import TIMES
from remit.ledger.service import UnknownDimensionError, conditions, remarks_on
from remit.reports import budget, coverage, forecast, total, units


class SpanGiven(Given, frozen=True, kw_only=True):
    """`since <= held_at < until`."""

    since: datetime
    until: datetime


class TotalGiven(Given, frozen=True, kw_only=True):
    """What is charged in a span. `previous_to_date`: as many days of the one before as have begun of this one; null when over."""

    span: SpanGiven
    sums: GroupGiven
    by_class: list[GroupGiven]
    by_vendor: list[GroupGiven]
    previous: SpanGiven
    previous_nanousd: int
    previous_to_date: SpanGiven | None
    previous_to_date_nanousd: int | None


class ForecastGiven(Given, frozen=True, kw_only=True):
    """A group's month of UTC; what is expected is null with less than 14 `days` known."""

    group: list[str | None]
    to_date_nanousd: int
    days: int
    expected_nanousd: int | None
    low_nanousd: int | None
    high_nanousd: int | None


class ForecastsGiven(Given, frozen=True, kw_only=True):
    """Forecasts by group, by what they are charged so far, and of all together; `band_percent` lie between low and high.

    `remarks`: on names that may be misspelt.
    """

    by: list[str]
    band_percent: int
    rows: list[ForecastGiven]
    total: ForecastGiven
    remarks: list[str]


class UnitCostsGiven(Given, frozen=True, kw_only=True):
    """Costs of a unit of one group, null where there is nothing to divide by; `_ppm` are parts of a million."""

    group: list[str | None]
    requests: int
    tokens: int
    calls_nanousd: int
    suspense_nanousd: int
    per_request_nanousd: int | None
    per_1k_tokens_nanousd: int | None
    cache_hit_ppm: int | None
    retry_ppm: int | None
    output_per_input_ppm: int | None


class UnitsGiven(Given, frozen=True, kw_only=True):
    """Unit costs by group, the dearest group first, and over all. `remarks`: on names that may be misspelt."""

    by: list[str]
    since: datetime | None
    until: datetime | None
    rows: list[UnitCostsGiven]
    total: UnitCostsGiven
    remarks: list[str]


class TagCoverageGiven(Given, frozen=True, kw_only=True):
    """How much carries one tag; `share_ppm` is by amount, in parts of a million."""

    tag: str
    requests_with: int
    with_nanousd: int
    share_ppm: int | None


class MissingGiven(Given, frozen=True, kw_only=True):
    """What a grant was charged without these tags."""

    grant: str | None
    owner: str | None
    tags: list[str]
    requests: int
    amount_nanousd: int


class CoverageGiven(Given, frozen=True, kw_only=True):
    """How much is charged without at least one of the tags, and where, the largest first. `remarks`: on misspelt names."""

    tags: list[str]
    requests: int
    charged_nanousd: int
    unattributed_requests: int
    unattributed_nanousd: int
    unattributed_ppm: int | None
    by_tag: list[TagCoverageGiven]
    missing: list[MissingGiven]
    remarks: list[str]


class BudgetLineGiven(Given, frozen=True, kw_only=True):
    """One limit in money in its present period; what is expected is null where it cannot be forecast."""

    path: str
    owner: str
    grant_class: GrantClass
    period: PeriodKind
    starts_at: datetime
    ends_at: datetime
    limit_nanousd: int
    posted_nanousd: int
    held_nanousd: int
    used_ppm: int | None
    expected_nanousd: int | None
    low_nanousd: int | None
    high_nanousd: int | None
    verdict: budget.Verdict


class BudgetGiven(Given, frozen=True, kw_only=True):
    """Limits in money by path."""

    lines: list[BudgetLineGiven]


ByMaybe = Annotated[
    str, QueryParameter(description="dimensions or names of tags, separated by commas; none for the sum alone")
]


class LedgerReports(Controller):
    """Reads only."""

    path = "/v1/ledger"
    tags = ["ledger"]  # noqa: RUF012 - the framework reads it from the class

    @get("/total", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def total(  # noqa: PLR0917 - one parameter per query parameter
        self,
        request: StrictRequest,
        services: Injected,
        period: Annotated[
            total.Calendar | None,
            QueryParameter(description="the one of UTC that holds the present; a quarter if left out"),
        ] = None,
        since: Since = None,
        until: Since = None,
        under: Under = None,
    ) -> TotalGiven:
        """How much is charged in all, by class and vendor, beside the span before."""
        require_offsets(since=since, until=until)
        now = services.clock.now()
        if since is None and until is None:
            span = total.calendar_span(period or "quarter", now)
        elif since is None or until is None or period is not None:
            raise refuse(
                "malformed_request", "a span has `since` and `until`, and no `period`", status=400, field="since"
            )
        else:
            try:
                span = total.span_of(since, until)
            except total.InvalidSpanError as error:
                raise refuse("malformed_request", str(error), status=400, field="since") from None
        answer = total.total_of(ledger_of(services, request.user, under), span, now)
        return msgspec.convert(answer, TotalGiven, from_attributes=True)

    @get("/forecast", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def forecast(
        self, request: StrictRequest, services: Injected, by: ByMaybe = "", under: Under = None, only: Only = None
    ) -> ForecastsGiven:
        """What the month of UTC comes to, with a band around it."""
        names = names_of(by) if by else []
        if time := next((name for name in names if name in TIMES), None):
            raise refuse("dimension_unknown", f"`{time}` is a time, and a forecast is of one month", status=400)
        ledger = ledger_of(services, request.user, under)
        try:
            restricted = _conditions(only)
            rows, whole = forecast.forecasts_of(ledger, names, services.clock.now(), restricted)
        except UnknownDimensionError as error:
            raise refuse("dimension_unknown", str(error), status=400) from None
        answer = {"by": names, "band_percent": forecast.BAND_PERCENT, "rows": rows if names else [], "total": whole,
                  "remarks": remarks_on(ledger, (*names, *restricted))}  # fmt: skip
        return msgspec.convert(answer, ForecastsGiven, from_attributes=True)

    @get("/units", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def units(  # noqa: PLR0917 - one parameter per query parameter
        self,
        request: StrictRequest,
        services: Injected,
        by: Annotated[str, QueryParameter(description="dimensions or names of tags, separated by commas")] = "model",
        since: Since = None,
        until: Since = None,
        under: Under = None,
        only: Only = None,
    ) -> UnitsGiven:
        """What a request and a thousand tokens cost, and shares of caches and retries."""
        require_offsets(since=since, until=until)
        names = names_of(by)
        ledger = ledger_of(services, request.user, under)
        try:
            restricted = _conditions(only)
            rows, whole = units.units_of(ledger, names, since, until, restricted)
        except UnknownDimensionError as error:
            raise refuse("dimension_unknown", str(error), status=400) from None
        remarks = remarks_on(ledger, (*names, *restricted))
        answer = {"by": names, "since": since, "until": until, "rows": rows, "total": whole, "remarks": remarks}
        return msgspec.convert(answer, UnitsGiven, from_attributes=True)

    @get("/coverage", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def coverage(  # noqa: PLR0917 - one parameter per query parameter
        self,
        request: StrictRequest,
        services: Injected,
        tags: Annotated[str, QueryParameter(description="names of tags, separated by commas")] = "team,feature",
        since: Since = None,
        until: Since = None,
        under: Under = None,
    ) -> CoverageGiven:
        """How much carries the tags it should, and where those are missing."""
        require_offsets(since=since, until=until)
        ledger = ledger_of(services, request.user, under)
        names = names_of(tags)
        try:
            answer = coverage.coverage_of(ledger, names, since, until)
        except UnknownDimensionError as error:
            raise refuse("dimension_unknown", str(error), status=400) from None
        given = {**asdict(answer), "remarks": remarks_on(ledger, names)}
        return msgspec.convert(given, CoverageGiven)

    @get("/budget", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def budget(self, request: StrictRequest, services: Injected, under: Under = None) -> BudgetGiven:
        """Limits in money against what was spent and what is forecast, of living grants one sees."""
        sight = seen(services, request.user, "read_ledger")
        top = None if under is None else found(sight, grant_ref(under))
        grants = [
            one
            for one in sight.grants()
            if one.status != "revoked" and (top is None or one.id == top.id or one.path.startswith(f"{top.path}/"))
        ]
        ids = [one.id for one in grants]
        used = {
            (one.node_id, one.period_kind, one.period_start): budget.Used(one.posted, one.held)
            for one in services.ledger.buckets(ids)
            if one.dimension == "usd"
        }
        lines = budget.budget_of(services.ledger.of_nodes(ids), grants, used, services.clock.now())
        return msgspec.convert({"lines": lines}, BudgetGiven, from_attributes=True)


def _conditions(only: str | None) -> dict[str, list[str]]:
    return conditions(next(csv.reader([only]), []) if only else ())
