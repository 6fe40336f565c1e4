"""Pages of time buckets, as OpenAI and Anthropic answer them: one page, several, or a list of them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from remit.reconcile.statements.exact import InexactError, parse_instant, parse_seconds
from remit.reconcile.statements.model import StatementError
from remit.reconcile.statements.raw import json_documents
from remit.reconcile.statements.reading import Fields, Reading


@dataclass(frozen=True, slots=True)
class Result:
    """One result of a bucket. `line` counts results through the whole file, from 1."""

    fields: Fields
    starts_at: datetime
    ends_at: datetime


def pages_of(reading: Reading) -> list[Mapping[str, Any]]:
    """The pages of a file, in order. Raises StatementError where the last one says that there are more."""
    if reading.pages is not None:
        return reading.pages
    found: list[Mapping[str, Any]] = []
    for document in json_documents(reading.raw):
        for page in document if isinstance(document, list) else [document]:
            if not isinstance(page, dict) or not isinstance(page.get("data"), list):
                raise StatementError("a page is an object with a list `data`: this is none")
            found.append(page)
    if not found:
        raise StatementError("there is no page in it")
    if found[-1].get("has_more"):
        raise StatementError("its last page says that there are more: it is not whole; fetch the pages after it too")
    reading.pages = found
    return found


def results_of(reading: Reading, starts: str, ends: str) -> Iterator[Result]:
    """The results of all buckets, whose period stands in these two fields."""
    number = 0
    for page in pages_of(reading):
        _unknown(
            reading,
            page,
            {"data", "has_more", "next_page", "object", "data_refreshed_at", "organization_id"},
            "a page",
            None,
        )
        for bucket in page["data"]:
            if not isinstance(bucket, dict) or not isinstance(bucket.get("results"), list):
                raise StatementError(
                    f"a bucket is an object with a list `results`: this is none, after result {number}"
                )
            _unknown(reading, bucket, {"object", starts, ends, "results"}, "a bucket", number + 1)
            begin, end = moment(bucket.get(starts), number + 1), moment(bucket.get(ends), number + 1)
            reading.notes.covers(begin, end)
            for result in bucket["results"]:
                number += 1
                if not isinstance(result, dict):
                    raise StatementError("a result is an object: this is none", number)
                yield Result(Fields(result, number), begin, end)


def stated_names(
    reading: Reading, names: tuple[str, ...], rows: Callable[[Any], Iterator[Mapping[str, Any]]]
) -> set[str]:
    """Which of these fields any row states: those that were asked to be kept apart, in which null is somebody too."""
    stated = {name for page in pages_of(reading) for row in rows(page) for name in names if row.get(name) is not None}
    return stated | ({*names} & {*reading.options.grouped_by})


def bucket_rows(page: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The results of a page of buckets, as far as they are objects."""
    for bucket in page["data"]:
        for result in bucket.get("results") or () if isinstance(bucket, dict) else ():
            if isinstance(result, dict):
                yield result


def unknown_fields(reading: Reading, fields: Fields, known: frozenset[str]) -> None:
    """Remarks on fields that nobody here has heard of."""
    _unknown(reading, fields.values, known, "a result", fields.line)


def moment(value: Any, line: int) -> datetime:
    """An instant as seconds or as text. Raises StatementError."""
    try:
        if isinstance(value, int) and not isinstance(value, bool):
            return parse_seconds(value)
        if isinstance(value, str):
            return parse_instant(value)
    except InexactError as error:
        raise StatementError(str(error), line) from None
    raise StatementError("its bucket states no period", line)


def _unknown(reading: Reading, values: Mapping[str, Any], known: Any, what: str, line: int | None) -> None:
    for name, value in values.items():
        if name not in known and value is not None:
            reading.notes.remark(
                f"{what} has a field `{str(name)[:60]}` that is not known here; the raw statement keeps it", line
            )
