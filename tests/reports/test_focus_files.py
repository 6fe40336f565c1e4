"""The files of the export: what validators say of them, and that CSV and Parquet hold the same."""

import csv
import gzip
import io
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from focus_data_toolkit.model.validator import lint_focus_1_4_structure, load_model
from focus_data_toolkit.validate import validate_dataset_bundle

from remit.reports.focus.columns import DATASETS, Column, Dataset, Row
from remit.reports.focus.service import dataset_rows
from remit.store.table_files import NoParquetError, write_csv, write_table
from tests.reports.charges import NAMING, Books, a_month, an_invoice

KNOWN = tomllib.loads(Path(__file__).with_name("known_failures.toml").read_text())["toolkit"]
TITLES = {"cost-and-usage": "Cost and Usage", "invoice-detail": "Invoice Detail", "billing-period": "Billing Period"}
# What we say that we support, and so have to fill.
SUPPORTED = ("SupportsUnitPricing", "SupportsMultiplePricingCategories")


def rows_of(dataset: Dataset) -> list[Row]:
    return list(dataset_rows(dataset, Books(a_month(), [an_invoice()]), NAMING))


def written(dataset: Dataset, folder: Path, ending: str = "csv") -> Path:
    path = folder / f"{dataset}.{ending}"
    assert write_table(path, DATASETS[dataset], rows_of(dataset)) == len(rows_of(dataset))
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    raw = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
    return list(csv.DictReader(io.StringIO(raw.decode(), newline="")))


def as_text(value: Any) -> str:
    """A value out of Parquet as CSV has it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Decimal):
        whole, _, part = format(value, "f").partition(".")
        return f"{whole}.{part.rstrip('0') or '0'}"
    return str(value)


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_validator_of_1_4_finds_what_is_known(dataset: Dataset, tmp_path: Path) -> None:
    """Structure, formats and the rules between columns hold, but for the failures that are listed with their reasons."""
    report = lint_focus_1_4_structure(
        TITLES[dataset], read_csv(written(dataset, tmp_path)), supported_conditions=SUPPORTED
    )
    assert {f"{dataset}.{one.column}.{one.rule}" for one in report.violations} == {
        name for name in KNOWN if name.startswith(f"{dataset}.")
    }, report.messages()


def test_the_validator_would_find_a_mistake(tmp_path: Path) -> None:
    """A cost that is not quantity times price is one."""
    rows = read_csv(written("cost-and-usage", tmp_path))
    rows[0]["ContractedCost"] = "99.0"
    assert not lint_focus_1_4_structure("Cost and Usage", rows, supported_conditions=SUPPORTED).ok


def test_the_datasets_fit_together(tmp_path: Path) -> None:
    """Every issuer has its billing period, and no row refers to an invoice that is not there."""
    bundle = {TITLES[dataset]: read_csv(written(dataset, tmp_path)) for dataset in DATASETS}
    report = validate_dataset_bundle(bundle)
    assert report.ok and "billing_period_coverage" in report.checks_run, report.format()
    bundle["Billing Period"] = bundle["Billing Period"][1:]
    assert not validate_dataset_bundle(bundle).ok


@pytest.mark.parametrize("dataset", DATASETS)
def test_columns_are_those_of_the_model(dataset: Dataset) -> None:
    """Each column that is not ours is one of FOCUS 1.4, may be null where it may there, and no mandatory one is missing."""
    model = load_model()["datasets"][TITLES[dataset]]["columns"]
    kinds = {"String": "text", "Decimal": "decimal", "Date/Time": "instant", "JSON": "json"}
    ours = {column.name: column for column in DATASETS[dataset] if not column.name.startswith("x_")}
    assert list(ours) == sorted(ours)
    assert {name for name, one in model.items() if one["feature_level"] == "Mandatory"} <= ours.keys() <= model.keys()
    for name, column in ours.items():
        assert column.kind == kinds[model[name]["data_type"]], name
        assert model[name]["allows_nulls"] or not column.nullable, name


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_format_says_the_same(dataset: Dataset, tmp_path: Path) -> None:
    """CSV, its compressed form and Parquet have the same rows; in Parquet decimals are exact and null is null."""
    plain = read_csv(written(dataset, tmp_path))
    assert plain and read_csv(written(dataset, tmp_path, "csv.gz")) == plain
    table = pq.read_table(written(dataset, tmp_path, "parquet"))
    assert [{name: as_text(value) for name, value in row.items()} for row in table.to_pylist()] == plain
    for column in DATASETS[dataset]:
        field = table.schema.field(column.name)
        assert field.nullable == column.nullable
        assert (column.kind == "decimal") == pa.types.is_decimal128(field.type)
        assert not pa.types.is_floating(field.type)


def test_the_same_books_make_the_same_file(tmp_path: Path) -> None:
    """Byte for byte, so that a digest of the file says something."""
    first = written("cost-and-usage", tmp_path, "csv.gz").read_bytes()
    assert written("cost-and-usage", tmp_path, "csv.gz").read_bytes() == first


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_a_file_is_there_whole_or_as_it_was(ending: str, tmp_path: Path) -> None:
    """Whatever breaks off, the file of before stays and nothing is left beside it."""
    path = tmp_path / f"november.{ending}"
    path.write_text("of before")

    def breaking() -> Iterator[Row]:
        yield from rows_of("billing-period")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_table(path, DATASETS["billing-period"], breaking())
    assert path.read_text() == "of before" and list(tmp_path.iterdir()) == [path]


def test_rows_are_taken_as_they_are_written() -> None:
    """However many there are, none is waited for."""
    (row,) = rows_of("billing-period")[:1]
    out = io.StringIO()
    seen: list[int] = []

    def many() -> Iterator[Row]:
        for _ in range(3):
            seen.append(out.getvalue().count("\r\n"))
            yield row

    assert write_csv(out, DATASETS["billing-period"], many()) == 3
    assert seen == [1, 2, 3]


def test_nobody_loads_parquet_but_who_writes_it() -> None:
    """Neither a gateway nor the control plane nor the command line loads the package before a file is asked for."""
    code = (
        "import sys, remit.bootstrap, remit.api.app, remit.gateway.worker, remit.cli.ledger_focus, remit.store.table_files\n"
        "print([name for name in ('pyarrow', 'pandas', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_parquet_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra, and comes before a row is read."""
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(NoParquetError, match=r"remit\[archive\]"):
        write_table(tmp_path / "x.parquet", [Column("x")], iter(()))
    assert list(tmp_path.iterdir()) == []


def test_json_columns_are_objects(tmp_path: Path) -> None:
    """Tags and price details are read back as they were."""
    for row in read_csv(written("cost-and-usage", tmp_path)):
        assert json.loads(row["Tags"] or "{}") in ({}, {"team": "search"})
