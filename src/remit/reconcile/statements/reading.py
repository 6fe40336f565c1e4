"""What a format's reader works with: the options, the fields of a row, and notes of what it meets."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from remit.reconcile.statements.exact import InexactError, count_of, parse_decimal, plain, plus, times, to_nanousd
from remit.reconcile.statements.model import Options, Remark, StatementError
from remit.reconcile.statements.raw import Raw

_MAX_REMARKS: Final = 200


class Notes:
    """What a reader notes besides lines, in one pass: rows with their amounts, remarks, the period, whether it is final."""

    def __init__(self) -> None:
        self.rows = 0
        self.amounts: dict[str, Decimal] = {}
        self.rows_left_out = 0
        self.amounts_left_out: dict[str, Decimal] = {}
        self.since: datetime | None = None
        self.until: datetime | None = None
        self.vendor: str | None = None
        self.rows_not_final = 0
        self.states_finality = False
        self._remarks: dict[str, tuple[int | None, int]] = {}

    def row(self, *amounts: tuple[str, Decimal]) -> None:
        """A row of the raw file, with what it says was charged, by currency."""
        self.rows += 1
        _add(self.amounts, amounts)

    def left_out(self, *amounts: tuple[str, Decimal]) -> None:
        """A row that was asked to be left out."""
        self.rows_left_out += 1
        _add(self.amounts_left_out, amounts)

    def covers(self, since: datetime, until: datetime) -> None:
        """The statement says that it is about this period."""
        self.since = since if self.since is None else min(self.since, since)
        self.until = until if self.until is None else max(self.until, until)

    def final(self, is_final: bool) -> None:
        """Whether the vendor says that a row does not change any more."""
        self.states_finality = True
        self.rows_not_final += not is_final

    def remark(self, text: str, line: int | None = None) -> None:
        """Something a person should know. Raises StatementError where there is no end of it."""
        text = text.encode("utf-8", "replace").decode().replace("\0", "?")
        first, rows = self._remarks.get(text, (line, 0))
        if rows == 0 and len(self._remarks) >= _MAX_REMARKS:
            raise StatementError(
                f"over {_MAX_REMARKS} different things in it are not understood: is it another format?"
            )
        self._remarks[text] = (first, rows + 1)

    @property
    def remarks(self) -> tuple[Remark, ...]:
        return tuple(Remark(text, line, rows) for text, (line, rows) in self._remarks.items())


def _add(sums: dict[str, Decimal], amounts: Iterable[tuple[str, Decimal]]) -> None:
    for currency, amount in amounts:
        sums[currency] = plus(sums.get(currency, Decimal(0)), amount)


class Reading:
    """One pass over one statement."""

    def __init__(self, raw: Raw, options: Options) -> None:
        self.raw = raw
        self.options = options
        self.notes = Notes()
        self.pages: list[Mapping[str, Any]] | None = None

    def money(self, amount: Decimal | None, currency: str | None, line: int) -> dict[str, Any]:
        """The fields of a line that say an amount, given in whole units of its currency. Raises StatementError."""
        if amount is None:
            return {}
        code = self.currency(currency, line)
        dollars: Decimal | None = amount
        if code != "USD":
            rate = self.options.rates.get(code)
            dollars = None if rate is None else times(amount, rate)
            said = "amounts are kept as text and not counted in dollars; --rate counts them"
            self.notes.remark(
                f"amounts are in {code}, " + (f"taken at {plain(rate)}" if rate is not None else said), line
            )
        try:
            nano, is_exact = (None, False) if dollars is None else to_nanousd(dollars)
        except InexactError as error:
            raise StatementError(str(error), line) from None
        text = None if is_exact and code == "USD" else plain(amount)
        return {"amount_nanousd": nano, "amount_text": text, "currency": code}

    def list_money(self, amount: Decimal | None, currency: str | None, line: int) -> int | None:
        """A list price in nano-USD, where it is in dollars or there is a rate."""
        if amount is None:
            return None
        code = self.currency(currency, line)
        rate = Decimal(1) if code == "USD" else self.options.rates.get(code)
        try:
            return None if rate is None else to_nanousd(times(amount, rate))[0]
        except InexactError as error:
            raise StatementError(str(error), line) from None

    def currency(self, stated: str | None, line: int) -> str:
        """The code of a currency, upper case. Raises StatementError where nobody states one."""
        code = (stated or self.options.currency or "").strip().upper()
        if not (code.isascii() and code.isalpha() and len(code) == 3):
            raise StatementError(f"its currency is `{code[:10]}`: --currency names it, such as USD", line)
        return code

    def unread(self, columns: Iterable[str]) -> None:
        """Columns that no line has anything of: kept in the raw statement, and said so once."""
        names = sorted(columns)
        if names:
            shown = ", ".join(names[:40]) + (f" and {len(names) - 40} more" if len(names) > 40 else "")
            self.notes.remark(f"kept in the raw statement only: {shown}")


class Fields:
    """One row by name, each value exactly; every mistake names the line."""

    def __init__(self, values: Mapping[str, Any], line: int) -> None:
        self.values = values
        self.line = line

    def text(self, *names: str) -> str | None:
        """The first of these that is stated, as text; None where none is. `NULL` and nothing are not stated."""
        for name in names:
            value = self.values.get(name)
            if value is None or value in ("", "NULL", "null"):
                continue
            if isinstance(value, bool | dict | list):
                raise self.error(f"`{name}` is no text")
            return value.strip() if isinstance(value, str) else str(value)
        return None

    def required(self, *names: str) -> str:
        """The same. Raises StatementError where none is stated."""
        found = self.text(*names)
        if found is None:
            raise self.error(f"`{names[0]}` is missing")
        return found

    def decimal(self, *names: str, decimal_comma: bool = False) -> Decimal | None:
        """The first of these that is stated, as an exact number."""
        found = self.text(*names)
        if found is None:
            return None
        try:
            number = parse_decimal(found, decimal_comma=decimal_comma)
        except InexactError as error:
            raise self.error(f"`{names[0]}`: {error}") from None
        if abs(number) >= 2**63:
            raise self.error(f"`{names[0]}`: `{found[:60]}` is beyond 64 bits")
        return number

    def count(self, name: str) -> int | None:
        """A whole number of at least 0; None where it is not stated."""
        found = self.decimal(name)
        if found is None:
            return None
        number = count_of(found)
        if not isinstance(number, int) or not 0 <= number < 2**63:
            raise self.error(f"`{name}` is `{plain(found)}`, not a whole number from 0 to 64 bits")
        return number

    def error(self, message: str) -> StatementError:
        return StatementError(message, self.line)
