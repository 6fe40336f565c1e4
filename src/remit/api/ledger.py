"""Reports and entries, of what a person owns or has a role for."""

import csv
import io
from typing import Annotated, Any, Literal

from litestar import Controller, Response, get
from litestar.params import FromQuery, QueryParameter

from remit.api.answers import EntryPage, GroupGiven, ReportGiven
from remit.api.bodies import StrictRequest
from remit.api.grants import found, seen
from remit.api.params import AfterNumber, Injected, PageSize, Since, grant_ref, require_offsets
from remit.api.problems import PROBLEM_RESPONSES, refuse
from remit.api.services import Services
from remit.grants.model import Actor
from remit.ledger.cells import text_cell
from remit.ledger.model import REPORT_SUMS, ArchivedError, Report, ReportRow
from remit.ledger.service import UnknownDimensionError, conditions, remarks_on, spend_report
from remit.store.postgres_ledger import PostgresLedger

_MAX_DIMENSIONS = 12
Under = Annotated[str | None, QueryParameter(description="id or path; only what this grant was charged for")]

Only = Annotated[
    str | None,
    QueryParameter(
        max_length=4000,
        description="`name=value`, separated by commas: only what has this value, or an empty one for none; with a comma in it in"
        ' quotes, `"name=a,b"`',
    ),
]


class Ledger(Controller):
    """Reads only; nothing here can write the ledger."""

    path = "/v1/ledger"
    tags = ["ledger"]  # noqa: RUF012 - the framework reads it from the class

    @get("/report", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def report(  # noqa: PLR0917 - one parameter per query parameter
        self,
        request: StrictRequest,
        services: Injected,
        by: Annotated[str, QueryParameter(description="dimensions or names of tags, separated by commas")] = "team",
        since: Since = None,
        until: Since = None,
        under: Under = None,
        only: Only = None,
        format: FromQuery[Literal["json", "csv"]] = "json",  # noqa: A002 - the name of the query parameter
    ) -> Response[ReportGiven]:
        """Charges by group, largest first; `booked_nanousd` is the part that is no call's cost."""
        require_offsets(since=since, until=until)
        names = names_of(by)
        ledger = ledger_of(services, request.user, under)
        try:
            restricted = conditions(next(csv.reader([only]), []) if only else ())
            report = spend_report(ledger, names, since, until, restricted)
        except UnknownDimensionError as error:
            raise refuse("dimension_unknown", str(error), status=400) from None
        except ArchivedError as error:
            raise refuse("archived", str(error), status=400, field="since") from None
        if format == "csv":
            answer: Response[Any] = Response(_csv(report), media_type="text/csv")
            return answer
        return Response(
            ReportGiven(
                by=list(report.by),
                since=report.since,
                until=report.until,
                rows=[_group(row) for row in report.rows],
                total=_group(report.total),
                remarks=remarks_on(ledger, (*names, *restricted)),
            )
        )

    @get("/entries", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def entries(
        self,
        request: StrictRequest,
        services: Injected,
        under: Under = None,
        after: AfterNumber = 0,
        limit: PageSize = 100,
    ) -> EntryPage:
        """Entries after a sequence number, oldest first; `archived` where the next ones left the database."""
        ledger = ledger_of(services, request.user, under)
        entries = ledger.tail(limit, after)
        # Afterwards, as months leave meanwhile.
        ledger.require_here(after)
        return EntryPage(entries=entries, next=entries[-1]["seq"] if len(entries) == limit else None)


def names_of(by: str) -> list[str]:
    """Names separated by commas. Raises Refusal for more of them than a report has."""
    names = [name.strip() for name in by.split(",")]
    if len(names) > _MAX_DIMENSIONS:
        raise refuse("malformed_request", f"a report has at most {_MAX_DIMENSIONS} dimensions", status=400, field="by")
    return names


def ledger_of(services: Services, actor: Actor, under: str | None) -> PostgresLedger:
    """The part of the ledger that a person sees."""
    sight = seen(services, actor, "read_ledger")
    if under is not None:
        return services.ledger.of_nodes([found(sight, grant_ref(under)).id])
    tops = sight.tops()
    return services.ledger if tops is None else services.ledger.of_nodes(tops)


def _group(row: ReportRow) -> GroupGiven:
    return GroupGiven(group=list(row.group), **{name: getattr(row, name) for name in REPORT_SUMS})


def _csv(report: Report) -> str:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\r\n")
    lines.writerow([*report.by, *REPORT_SUMS])
    for row in report.rows:
        lines.writerow([*map(text_cell, row.group), *(getattr(row, name) for name in REPORT_SUMS)])
    return text.getvalue()
