"""The simulator's books, from its CSV to the files that statements are imported from."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from remit.reconcile.statements.formats import summarise
from remit.reconcile.statements.model import Options
from remit.reconcile.statements.raw import pack
from remit.testing.vendor_reports.__main__ import main
from remit.testing.vendor_sim.books import Row, statement_csv
from remit.testing.vendor_sim.prices import BilledTokens, PriceList


def row(sequence: int, at: str, **fields: Any) -> Row:
    """A call as the simulator bills it at its own prices."""
    tokens = {"prompt_tokens": 700, "cached_tokens": 200, "cache_write_tokens": 0, "completion_tokens": 31, **fields}
    model = fields.get("model", "gpt-4o")
    counts = {
        name: tokens[name] for name in ("prompt_tokens", "cached_tokens", "cache_write_tokens", "completion_tokens")
    }
    return Row(
        sequence=sequence, vendor_request_id=f"chatcmpl-{sequence}", client_request_id=None, idempotency_key=None,
        received_at=datetime.fromisoformat(at), finished_at=datetime.fromisoformat(at), requested_model=model, model=model,
        service_tier="default", reasoning_tokens=0, outcome="completed", status=None,
        amount_nanousd=PriceList.default().models[model].invoice_nanousd("default", BilledTokens(**counts)), **counts,
    )  # fmt: skip


ROWS = [
    row(1, "2026-10-03T09:00:00+00:00"),
    row(2, "2026-10-31T23:59:59+00:00", model="sim-fractional", completion_tokens=7),
    row(3, "2026-11-01T00:00:00+00:00", model="sim-cache-write", cache_write_tokens=90),
]


def written(folder: Path, *options: str) -> dict[str, Any]:
    """What an import makes of the two files."""
    (folder / "books.csv").write_text(statement_csv(ROWS))
    assert main([str(folder / "books.csv"), "--out", str(folder), *options]) == 0
    sources = {"usage": "openai.usage_completions", "costs": "openai.costs"}
    later = datetime(2026, 12, 9, tzinfo=UTC)
    return {
        name: summarise(pack([(folder / f"{name}.json").read_bytes()]), source, Options(account="org"), later)
        for name, source in sources.items()
    }


def test_a_month_is_reported_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every token and nano-dollar of its calls, and none of another month's, which are counted."""
    found = written(tmp_path, "--month", "2026-10")
    owed = ROWS[0].amount_nanousd + ROWS[1].amount_nanousd
    assert found["costs"].amount_nanousd == owed
    usage = {name: int(meter.quantity) for name, meter in found["usage"].meters.items()}
    assert usage == {"input": 1000, "cache_read": 400, "cache_write": 0, "output": 38, "requests": 2}
    assert (found["usage"].since, found["usage"].until) == (
        datetime(2026, 10, 1, tzinfo=UTC),
        datetime(2026, 11, 1, tzinfo=UTC),
    )
    out = capsys.readouterr().out
    assert "2 calls of 2026-10" in out and "1 calls of other months are left out" in out
    assert f"--bill INVOICE=0.{owed:09d}".rstrip("0") in out


def test_all_calls_are_put_on_a_day(tmp_path: Path) -> None:
    """Where a rehearsal is of another date; the last month has a year of its own."""
    found = written(tmp_path, "--on", "2026-12-24")
    assert found["costs"].amount_nanousd == sum(one.amount_nanousd for one in ROWS)
    assert found["usage"].meters["requests"].quantity == 3
    assert found["costs"].until == datetime(2027, 1, 1, tzinfo=UTC)
    assert written(tmp_path)["costs"].since == datetime(2026, 11, 1, tzinfo=UTC), (
        "by itself, the month of the last call"
    )


FIRST = statement_csv(ROWS[:1])
WRONG = {
    "other prices": (FIRST.replace(f",{ROWS[0].amount_nanousd},", ",17,"), (), "row 1 was billed at other prices"),
    "no price": (FIRST.replace("gpt-4o", "gpt-99"), (), "`gpt-99` in tier `default` is not in the price list"),
    "no number": (FIRST.replace(",31,", ",many,"), (), "row 1: expected `int`"),
    "other columns": ("a,b\n1,2\n", (), "the columns are not those of /sim/books.csv"),
    "no text": ("\udcff", (), "invalid"),
    "no call": (statement_csv([]), (), "there is no call in the books"),
    "no month": (FIRST, ("--month", "2026-13"), "is not a month such as 2026-10"),
    "no day": (FIRST, ("--on", "yesterday"), "is not a day such as 2026-10-20"),
    "no folder": (FIRST, ("--out", "nowhere"), "cannot write to `nowhere`: no such file or directory"),
    "no price list": (FIRST, ("--prices", "nowhere.json"), "no such file or directory"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_reported_is_said(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, a sentence, and no file."""
    text, options, says = WRONG[case]
    monkeypatch.chdir(tmp_path)
    Path("books.csv").write_bytes(text.encode(errors="surrogateescape"))
    assert main(["books.csv", *options]) == 2
    assert says in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["books.csv"]


def test_a_simulator_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """And which address was asked."""
    assert main(["http://127.0.0.1:9"]) == 2
    assert "cannot read `http://127.0.0.1:9`: connection refused" in capsys.readouterr().err
