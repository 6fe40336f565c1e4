"""`make focus-validate`: the FOCUS export under focus-validator, whose newest rules are those of FOCUS 1.2.

It needs another Python and older libraries than the suite, so it runs in an environment of its own, given by its folder.
"""

import csv
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from remit.reports.focus.columns import DATASETS
from remit.reports.focus.service import dataset_rows
from remit.store.table_files import write_table
from tests.reports.charges import NAMING, Books, a_month

RULES = "1.2.0.1"
SUPPORTED = (
    "ACCOUNT_NAMING_SUPPORTED", "MULTIPLE_PRICING_CATEGORIES_SUPPORTED", "MULTIPLE_SUB_ACCOUNT_TYPES_SUPPORTED",
    "MULTIPLE_BILLING_ACCOUNT_TYPES_SUPPORTED", "NEGOTIATED_PRICING_SUPPORTED", "PUBLIC_PRICE_LIST_SUPPORTED",
    "USAGE_MEASUREMENT_SUPPORTED", "UNIT_PRICING_SUPPORTED", "SUB_ACCOUNT_SUPPORTED", "TAGGING_SUPPORTED",
)  # fmt: skip
SINCE_1_3 = {
    "AllocatedMethodId", "AllocatedResourceId", "AllocatedResourceName", "AllocatedTags", "HostProviderName",
    "InvoiceDetailId", "ServiceProviderName",
}  # fmt: skip
COPIED = {
    "ProviderName": "ServiceProviderName",
    "PublisherName": "ServiceProviderName",
    "PricingCurrency": "BillingCurrency",
    "PricingCurrencyContractedUnitPrice": "ContractedUnitPrice",
    "PricingCurrencyEffectiveCost": "EffectiveCost",
    "PricingCurrencyListUnitPrice": "ListUnitPrice",
}


def as_1_2(source: Path, target: Path) -> None:
    """The file in the form of 1.2: providers under their old names, and columns whose absence 1.2 does not allow for."""
    with source.open(newline="", encoding="utf-8") as read, target.open("w", newline="", encoding="utf-8") as write:
        rows = csv.DictReader(read)
        names = [name for name in rows.fieldnames or () if name not in SINCE_1_3]
        out = csv.DictWriter(write, [*names, *COPIED, "CommitmentDiscountStatus"], extrasaction="ignore")
        out.writeheader()
        for row in rows:
            out.writerow(row | {new: row[old] for new, old in COPIED.items()} | {"CommitmentDiscountStatus": ""})


def failures(environment: Path, file: Path) -> set[str]:
    """The rules that the validator says are not satisfied. Its exit code says nothing; a report without a total is none."""
    packages = next(environment.resolve().glob("lib/python*/site-packages"))
    # It opens its list of currencies relative to the folder it is started in, and must not ask the network.
    command = [
        str(environment.resolve() / "bin" / "focus-validator"), "--data-file", str(file), "--validate-version", RULES,
        "--focus-dataset", "CostAndUsage", "--block-download", "--applicability-criteria", ",".join(SUPPORTED),
    ]  # fmt: skip
    said = subprocess.run(command, cwd=packages, capture_output=True, text=True, check=False)
    total = re.search(r"^Total: (\d+) \| Pass: (\d+) \| Fail: (\d+)", said.stdout, re.MULTILINE)
    if total is None or int(total[2]) < 200:
        sys.exit(f"the validator made no report:\n{said.stdout[-2000:]}{said.stderr[-2000:]}")
    found = set(re.findall(r"^❌ ([\w-]+): FAIL", said.stdout, re.MULTILINE))
    if len(found) != int(total[3]):
        sys.exit(f"{total[3]} failures were counted, and {len(found)} could be read")
    print(total[0])
    return found


def main(environment: Path) -> int:
    """Compares what fails with what is known to; differences either way are printed and make the exit code 1."""
    known = set(tomllib.loads(Path(__file__).with_name("known_failures.toml").read_text())["focus-validator"])
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.csv", Path(folder) / "as-1-2.csv"
        write_table(ours, DATASETS["cost-and-usage"], dataset_rows("cost-and-usage", Books(a_month()), NAMING))
        as_1_2(ours, theirs)
        found = failures(environment, theirs)
    for rule in sorted(found - known):
        print(f"{rule}: fails, and is not in known_failures.toml")
    for rule in sorted(known - found):
        print(f"{rule}: is in known_failures.toml, and does not fail any more")
    print(f"{len(found & known)} known failures, {len(found ^ known)} differences")
    return int(found != known)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
