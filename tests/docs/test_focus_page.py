"""The page about the FOCUS export lists every column of FOCUS 1.4, filled or left out."""

import re
from pathlib import Path

import pytest
from focus_data_toolkit.model.validator import load_model

from remit.reports.focus.columns import DATASETS, Dataset
from remit.reports.focus.meters import METERS, UNITEMISED, UNRESOLVED

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "focus.md"
TITLES: dict[Dataset, str] = {
    "cost-and-usage": "Cost and Usage",
    "invoice-detail": "Invoice Detail",
    "billing-period": "Billing Period",
}


def section(title: str) -> str:
    parts = re.split(r"^## (.+)\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[title]


@pytest.mark.parametrize(("dataset", "title"), TITLES.items())
def test_every_column_has_its_row(dataset: Dataset, title: str) -> None:
    """The rows of a section are the columns of the file, in order."""
    assert re.findall(r"^\| `(\w+)` \| .+ \|$", section(title), re.MULTILINE) == [one.name for one in DATASETS[dataset]]


def test_every_column_that_is_left_out_is_said_to_be() -> None:
    """What FOCUS 1.4 has and the file has not stands in the list, with the reason, and nothing else does."""
    model = load_model()["datasets"]
    missing = {
        name
        for dataset, title in TITLES.items()
        for name in model[title]["columns"]
        if name not in {column.name for column in DATASETS[dataset]}
    }
    assert set(re.findall(r"`(\w+)`", section("Left out"))) == missing


def test_every_meter_stands_on_the_page() -> None:
    """The row of `SkuMeter` names all there are."""
    (listed,) = re.findall(r"^\| `SkuMeter` \| (.+) \|$", section("Cost and Usage"), re.MULTILINE)
    assert set(re.findall(r"`([\w ]+)`", listed)) == {one.name for one in (*METERS.values(), UNRESOLVED, UNITEMISED)}
