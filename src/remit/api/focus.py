"""The route of the FOCUS export: a month of the whole ledger as CSV."""

import io
import tempfile
from collections.abc import Iterator
from datetime import date
from typing import IO, Annotated, Final

from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery, QueryParameter
from litestar.response import Stream

from remit.api.bodies import StrictRequest
from remit.api.grants import seen
from remit.api.params import Injected
from remit.api.problems import PROBLEM_RESPONSES, refuse
from remit.reports.focus.columns import DATASETS, Dataset
from remit.reports.focus.model import Grain
from remit.reports.focus.service import dataset_rows
from remit.store.table_files import write_csv

_CHUNK: Final = 64 * 1024
_MONTH: Final = "^(20|21)[0-9]{2}-(0[1-9]|1[0-2])$"
_RESPONSES: Final = {
    **PROBLEM_RESPONSES,
    200: ResponseSpec(str, description="the rows, with a header", generate_examples=False, media_type="text/csv"),
}


@get("/v1/ledger/focus", sync_to_thread=True, responses=_RESPONSES, media_type="text/csv", tags=["ledger"])
def read_focus(
    request: StrictRequest,
    services: Injected,
    month: Annotated[str, QueryParameter(pattern=_MONTH, description="billing month in UTC, such as `2026-11`")],
    dataset: FromQuery[Dataset] = "cost-and-usage",
    grain: FromQuery[Grain] = "day",
) -> Stream:
    """What was booked in a month, as a dataset of FOCUS 1.4; for whoever may read the whole ledger."""
    if seen(services, request.user, "read_ledger").tops() is not None:
        raise refuse("not_permitted", "the export is of the whole ledger, for who may read all of it")
    year, number = month.split("-")
    # Written to a file first, so that what fails is an error and never half an answer, and no reader however slow keeps
    # the database waiting.
    spool: IO[bytes] = tempfile.TemporaryFile(prefix="remit-focus-")  # noqa: SIM115 - closed when it was sent
    try:
        with services.books_of(date(int(year), int(number), 1)) as books:
            text = io.TextIOWrapper(spool, encoding="utf-8", newline="")
            write_csv(text, DATASETS[dataset], dataset_rows(dataset, books, services.naming, grain))
            text.detach()
        spool.seek(0)
    except BaseException:
        spool.close()
        raise
    name = f"focus-{dataset}-{month}.csv"
    return Stream(
        _chunks(spool), media_type="text/csv", headers={"content-disposition": f'attachment; filename="{name}"'}
    )


def _chunks(spool: IO[bytes]) -> Iterator[bytes]:
    with spool:
        while chunk := spool.read(_CHUNK):
            yield chunk
