"""The vendor simulator's books as rows of a report: read from its CSV or from a simulator that runs."""

import csv
import io
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from remit.testing.vendor_reports.books import BookRow
from remit.testing.vendor_sim.books import Row
from remit.testing.vendor_sim.prices import BilledTokens, InvalidPriceListError, PriceList, invoice_lines

_KINDS: Final = ("input", "cache_read", "cache_write", "output")
_MAX_BYTES: Final = 256 << 20
_TIMEOUT_SECONDS: Final = 30


class UnreadableBooksError(Exception):
    """These are no books of the simulator, or they cannot be had; the message is a lower-case clause."""


def booked(row: Row, prices: PriceList, **where: str) -> BookRow:
    """A row of the simulator's books, its amount divided by kind. `where` are fields of the result, such as `key_id`.

    Raises UnreadableBooksError where it was billed at other prices.
    """
    tokens = BilledTokens(
        prompt_tokens=row.prompt_tokens,
        cached_tokens=row.cached_tokens,
        cache_write_tokens=row.cache_write_tokens,
        completion_tokens=row.completion_tokens,
    )
    plain = row.prompt_tokens - row.cached_tokens - row.cache_write_tokens
    known = prices.models.get(row.model)
    if known is None or row.service_tier not in known.rates or plain < 0:
        raise UnreadableBooksError(
            f"row {row.sequence}: `{row.model}` in tier `{row.service_tier}` is not in the price list"
        )
    lines = invoice_lines(known.rate(row.service_tier, row.prompt_tokens), tokens)
    if sum(lines) != row.amount_nanousd:
        raise UnreadableBooksError(f"row {row.sequence} was billed at other prices than those of the price list")
    used = (plain, row.cached_tokens, row.cache_write_tokens, row.completion_tokens)
    return BookRow(
        at=row.received_at,
        model=row.model,
        used=dict(zip(_KINDS, used, strict=True)),
        costs_nanousd=dict(zip(_KINDS, lines, strict=True)),
        tier=row.service_tier,
        id=row.vendor_request_id,
        **where,  # type: ignore[arg-type] # texts of BookRow's are all it takes
    )


def read_rows(text: str) -> list[Row]:
    """Rows of `/sim/books.csv`. Raises UnreadableBooksError."""
    lines = csv.DictReader(io.StringIO(text, newline=""))
    if tuple(lines.fieldnames or ()) != Row.__struct_fields__:
        raise UnreadableBooksError("the columns are not those of /sim/books.csv")
    found = []
    for number, line in enumerate(lines, 1):
        values: dict[str, Any] = {name: value if value != "" else None for name, value in line.items()}
        try:
            found.append(msgspec.convert(values, Row, strict=False))
        except msgspec.ValidationError as error:
            raise UnreadableBooksError(f"row {number}: {str(error)[0].lower()}{str(error)[1:]}") from None
    return found


def read_books(source: str, prices: Path | None, **where: str) -> list[BookRow]:
    """The books in a file, or of the simulator at an address, which is asked for its prices as well.

    Raises UnreadableBooksError.
    """
    try:
        if urlsplit(source).scheme in ("http", "https"):
            base = source.rstrip("/").removesuffix("/sim/books.csv")
            text, listed = _get(f"{base}/sim/books.csv"), PriceList(msgspec.json.decode(_get(f"{base}/sim/prices")))
        else:
            text = _limited(Path(source).read_bytes(), source)
            listed = PriceList.default()
        if prices is not None:
            listed = PriceList.from_file(prices)
    except (OSError, ValueError) as error:
        raise UnreadableBooksError(f"cannot read `{source}`: {_why(error)}") from None
    return [booked(row, listed, **where) for row in read_rows(text)]


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - http or https alone come here
        return _limited(answer.read(_MAX_BYTES + 1), url)


def _limited(content: bytes, source: str) -> str:
    if len(content) > _MAX_BYTES:
        raise UnreadableBooksError(f"`{source}` is larger than {_MAX_BYTES >> 20} MiB")
    return content.decode()


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"it answers {error.code}"
    if isinstance(error, InvalidPriceListError):
        return str(error)
    if isinstance(error, urllib.error.URLError):
        error = error.reason if isinstance(error.reason, OSError) else error
    text = getattr(error, "strerror", None) or str(error)
    return f"{text[:1].lower()}{text[1:]}"
