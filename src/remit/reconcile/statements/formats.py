"""Which formats there are, and reading a statement with any of them: lines, and what they come to."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final

from remit.kernel.money import MAX_NANOUSD
from remit.reconcile.statements import anthropic, aws, azure, google, openai, openrouter
from remit.reconcile.statements.exact import plain, plus
from remit.reconcile.statements.focus import focus_reader
from remit.reconcile.statements.generic import read_generic
from remit.reconcile.statements.model import (
    Meter,
    MeterTotal,
    Options,
    StatementError,
    StatementLine,
    Summary,
)
from remit.reconcile.statements.raw import Raw
from remit.reconcile.statements.reading import Reading

Reader = Callable[[Reading], Iterator[StatementLine]]


@dataclass(frozen=True, slots=True)
class Format:
    """A source of statements. `vendor` is None where the statement itself, or a person, has to say whose it is."""

    source: str
    vendor: str | None
    read: Reader


_ALL: Final = (
    Format("openai.costs", openai.VENDOR, openai.read_costs),
    *(Format(f"openai.usage_{name}", openai.VENDOR, openai.usage_reader(name)) for name in openai.ENDPOINTS),
    Format("anthropic.usage_messages", anthropic.VENDOR, anthropic.read_usage),
    Format("anthropic.cost_report", anthropic.VENDOR, anthropic.read_costs),
    Format("anthropic.analytics_cost", anthropic.VENDOR, anthropic.read_analytics_cost),
    Format("anthropic.analytics_usage", anthropic.VENDOR, anthropic.read_analytics_usage),
    Format("openrouter.activity", openrouter.VENDOR, openrouter.read_activity),
    Format("openrouter.generations", openrouter.VENDOR, openrouter.read_generations),
    Format("aws.cur2", aws.VENDOR, aws.read_cur2),
    Format("aws.focus", aws.VENDOR, focus_reader(aws.VENDOR)),
    Format("azure.cost_details", azure.VENDOR, azure.read_cost_details),
    Format("azure.focus", azure.VENDOR, focus_reader(azure.VENDOR)),
    Format("google.billing_export", google.VENDOR, google.read_export),
    Format("google.focus", google.VENDOR, focus_reader(google.VENDOR)),
    Format("focus", None, focus_reader(None)),
    Format("csv", None, read_generic),
)
FORMATS: Final[Mapping[str, Format]] = {one.source: one for one in _ALL}
_NAMES: Final = tuple(one.name for one in fields(StatementLine))


def format_of(source: str) -> Format:
    """The format of that name. Raises StatementError."""
    if source not in FORMATS:
        raise StatementError(f"`{source[:60]}` is no source of statements: there are {', '.join(FORMATS)}")
    return FORMATS[source]


def lines_of(raw: Raw, source: str, options: Options) -> Iterator[StatementLine]:
    """The lines, one by one. Raises StatementError at the first row that cannot be understood."""
    return format_of(source).read(Reading(raw, options))


def summarise(raw: Raw, source: str, options: Options, now: datetime) -> Summary:
    """Reads all of a statement once, keeps no line, and answers what it comes to. Raises StatementError.

    The sum over the raw rows and that over the lines are made apart, and have to agree.
    """
    chosen, reading = format_of(source), Reading(raw, options)
    sums, digest = _Sums(), sha256()
    for line in chosen.read(reading):
        sums.add(line)
        digest.update(_canonical(line))
    notes = reading.notes
    if sums.amounts != {name: total for name, total in notes.amounts.items() if name in sums.amounts or total}:
        raise StatementError(
            f"its rows come to {_shown(notes.amounts)}, the lines read from them to {_shown(sums.amounts)}"
        )
    if any(total is not None and abs(total) > MAX_NANOUSD for total in sums.totals()):
        raise StatementError("its amounts come to more than 64 bits of nano-dollars")
    since, until = _covers(reading, sums)
    outside = sums.outside(since, until)
    if outside:
        notes.remark(f"{outside} lines are of periods outside of what it covers, as late charges are")
    stated = notes.states_finality and notes.rows_not_final == 0 and notes.rows > 0
    return Summary(
        vendor=_whose(chosen, options, notes.vendor, sums.vendors),
        source=source,
        account=_account(options, sums.accounts),
        since=since,
        until=until,
        is_complete=(options.is_final or stated) and until <= now,
        rows=notes.rows,
        lines=sums.lines,
        lines_sha256=digest.digest(),
        amounts=notes.amounts,
        amount_nanousd=sums.nanousd,
        meters=sums.meters,
        rows_left_out=notes.rows_left_out,
        amounts_left_out=notes.amounts_left_out,
        remarks=notes.remarks,
    )


class _Sums:
    """What lines come to."""

    def __init__(self) -> None:
        self.lines = 0
        self.amounts: dict[str, Decimal] = {}
        self.nanousd: int | None = None
        self.meters: dict[Meter, MeterTotal] = {}
        self.vendors: set[str] = set()
        self.accounts: set[str] = set()
        self.since: datetime | None = None
        self.until: datetime | None = None
        self.days: dict[tuple[datetime, datetime], int] = {}

    def add(self, line: StatementLine) -> None:
        self.lines += 1
        _note(self.vendors, line.vendor)
        if line.account is not None:
            _note(self.accounts, line.account)
        self.since = line.starts_at if self.since is None else min(self.since, line.starts_at)
        self.until = line.ends_at if self.until is None else max(self.until, line.ends_at)
        days = (_day(line.starts_at), _day(line.ends_at - timedelta(microseconds=1)) + timedelta(days=1))
        self.days[days] = self.days.get(days, 0) + 1
        exact = line.exact_amount
        if exact is not None:
            assert line.currency is not None
            self.amounts[line.currency] = plus(self.amounts.get(line.currency, Decimal(0)), exact)
        self.nanousd = _plus(self.nanousd, line.amount_nanousd)
        total = self.meters.get(line.meter, MeterTotal(0, None, None))
        quantity = total.quantity
        if line.quantity is not None:
            quantity = plus(quantity or Decimal(0), Decimal(line.quantity))
        self.meters[line.meter] = replace(
            total,
            lines=total.lines + 1,
            quantity=quantity,
            amount_nanousd=_plus(total.amount_nanousd, line.amount_nanousd),
        )

    def totals(self) -> list[int | None]:
        """The sum of all amounts, and that of each meter."""
        return [self.nanousd, *(total.amount_nanousd for total in self.meters.values())]

    def outside(self, since: datetime, until: datetime) -> int:
        """How many lines begin on a day outside of a period."""
        return sum(count for (begin, _), count in self.days.items() if not _day(since) <= begin < until)


def _note(known: set[str], name: str) -> None:
    if len(known) < 50:
        known.add(name)


def _plus(one: int | None, other: int | None) -> int | None:
    return one if other is None else (one or 0) + other


def _day(instant: datetime) -> datetime:
    return instant.replace(hour=0, minute=0, second=0, microsecond=0)


def _covers(reading: Reading, sums: _Sums) -> tuple[datetime, datetime]:
    """What was said, else what the statement says, else the days from its first line to its last."""
    options, notes = reading.options, reading.notes
    first = next((one for one in (options.since, notes.since) if one is not None), None)
    last = next((one for one in (options.until, notes.until) if one is not None), None)
    if first is None and sums.since is not None:
        first = _day(sums.since)
    if last is None and sums.until is not None:
        last = _day(sums.until - timedelta(microseconds=1)) + timedelta(days=1)
    if first is None or last is None:
        raise StatementError("there is no row in it, and it does not say which period it is of: --since and --until do")
    if first >= last:
        raise StatementError(f"it would cover {first.isoformat()} until {last.isoformat()}, which is no period")
    return first.astimezone(UTC), last.astimezone(UTC)


def _whose(chosen: Format, options: Options, mapped: str | None, found: Iterable[str]) -> str:
    if chosen.vendor is not None:
        return chosen.vendor
    if options.vendor is not None:
        return options.vendor
    if mapped is not None:
        return mapped
    names = sorted(found)
    if len(names) != 1 or names == ["unknown"]:
        said = f"of {', '.join(names[:5])}" if names else "of nobody it names"
        raise StatementError(f"it is {said}: --vendor says whose statement it is")
    return names[0]


def _account(options: Options, found: Iterable[str]) -> str:
    if options.account is not None:
        return options.account
    names = sorted(found)
    if len(names) > 1:
        raise StatementError(
            f"it is of several accounts ({', '.join(names[:5])}): --account names the one it is kept under"
        )
    return names[0] if names else ""


def _canonical(line: StatementLine) -> bytes:
    """All that a line says, in one form."""
    return repr(tuple(_plain(getattr(line, name)) for name in _NAMES)).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return sorted(value.items()) if isinstance(value, Mapping) else value


def _shown(amounts: Mapping[str, Decimal]) -> str:
    return ", ".join(f"{plain(total)} {name}" for name, total in sorted(amounts.items())) or "nothing"
