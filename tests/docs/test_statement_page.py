"""The worked example of docs/howto/import-a-statement.md does what the page says."""

import re
from datetime import UTC, datetime
from decimal import Decimal

from remit.cli.values import parse_moment
from remit.reconcile.statements.formats import FORMATS, lines_of, summarise
from remit.reconcile.statements.generic import COLUMNS
from remit.reconcile.statements.model import METERS, Options
from remit.reconcile.statements.raw import pack
from tests.tidy.sources import ROOT

PAGE = (ROOT / "docs" / "howto" / "import-a-statement.md").read_text(encoding="utf-8")


def block(language: str, containing: str) -> str:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    (one,) = [text for text in found if containing in text]
    return one


def said(option: str) -> datetime:
    """The instant that the example's command gives."""
    found = re.search(rf"--mapping orion\.toml.*?--{option} (\S+)", PAGE, re.DOTALL)
    assert found is not None
    return parse_moment(found[1], option)


def test_the_example_comes_to_what_the_page_says() -> None:
    """Thousands are multiplied out, commas are decimal marks, days begin in Berlin, euros become dollars at the rate."""
    raw = pack([block("csv", "orion-2").encode()])
    options = Options(
        mapping=block("toml", 'vendor = "orion"'),
        rates={"EUR": Decimal("1.10")},
        since=said("since"),
        until=said("until"),
    )
    summary = summarise(raw, "csv", options, datetime(2026, 12, 9, tzinfo=UTC))
    assert (summary.vendor, summary.account, summary.rows) == ("orion", "acme", 3)
    assert [one.text for one in summary.remarks] == ["amounts are in EUR, taken at 1.1"]
    assert summary.meters["input"].quantity == 1_234_500 and summary.meters["output"].quantity == 10_000
    assert summary.amounts == {"EUR": Decimal("13.845")} and summary.amount_nanousd == 15_229_500_000
    assert "13.845 EUR and $15.2295" in PAGE and "1,234,500 tokens" in PAGE
    lines = list(lines_of(raw, "csv", options))
    assert lines[0].starts_at == datetime(2026, 10, 31, 23, tzinfo=UTC) and lines[0].project == "Suche"
    assert (lines[2].quantity, lines[2].amount_text) == (0, "0")


def test_the_page_knows_every_source_column_and_meter() -> None:
    """All that can be said in a mapping file, and each source, stands on the page."""
    words = set(re.findall(r"`([a-z0-9_.*]+)`", PAGE))
    assert {*COLUMNS, *METERS} <= words
    assert {one for one in FORMATS if not one.startswith("openai.usage_")} <= words and "openai.usage_*" in words
