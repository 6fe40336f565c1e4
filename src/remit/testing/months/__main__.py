"""A generated month and what matching finds in it, from the command line."""

import argparse
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence

from remit.kernel.money import format_usd
from remit.testing.months.month import Plan, generate
from remit.testing.months.proof import Fact, judge, sums

_KINDS_FOR_MANY, _MANY = 100, 1_000_000
_SHOWN = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what was put in and what was found; exit code 1 where they are not the same."""
    parser = argparse.ArgumentParser(
        prog="python -m remit.testing.months", description="Match a month with known mistakes, and see what is found."
    )
    parser.add_argument("--entries", type=int, default=20_000, help="calls of the month, about (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same month (default: %(default)s)")
    parser.add_argument("--copies", type=int, help="how often each mistake is made (default: 1, or 3 in large months)")
    parser.add_argument(
        "--kinds", type=int, help="different requests in each cell (default: 4, or 100 in large months)"
    )
    options = parser.parse_args(arguments)
    large = options.entries >= _MANY
    plan = Plan(
        entries=options.entries,
        seed=options.seed,
        copies=options.copies or (3 if large else 1),
        kinds=options.kinds or (_KINDS_FOR_MANY if large else 4),
        plain=12 if large else 4,
    )
    began = time.perf_counter()
    month = generate(plan)
    generated = time.perf_counter()
    verdict = judge(month)
    done = time.perf_counter()
    injected, found = _by_cause(verdict.injected), _by_cause(verdict.found)
    print(f"entries   {month.entries:,}")
    print(f"cells     {len(month.ledger):,} of the ledger, {len(month.vendor):,} of vendors")
    for cause in sorted(injected.keys() | found.keys()):
        print(f"  {cause:22} injected {injected[cause]:3}  found {found[cause]:3}")
    print(f"injected  {verdict.injected.total()}")
    print(f"found     {verdict.found.total()}")
    print(f"precision {_thousandths(verdict.precision_per_mille)}")
    print(f"recall    {_thousandths(verdict.recall_per_mille)}")
    print(f"amounts equal {'y' if verdict.amounts_are_equal else 'n'}")
    closing = sums(month, verdict.matched)
    for one in closing:
        amounts = (format_usd(amount) for amount in (one.entries, one.booked, one.explained, one.billed))
        told = "entries {} + booked {} + explained {} = billed {}".format(*amounts)
        print(f"{one.vendor:11}{told if one.agree else f'{told}: they do not agree'}")
    print(f"seconds   {generated - began:.1f} to generate, {done - generated:.1f} to match")
    # Linux counts kilobytes, macOS bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform != "darwin" else 1024 * 1024)
    print(f"peak memory {peak} MB")
    for name, facts in (("missed", verdict.missed), ("invented", verdict.invented)):
        for cause, key, amount in facts[:_SHOWN]:
            print(f"{name}: {cause} {key.text()} {amount}")
    return 0 if verdict.is_right and all(one.agree for one in closing) else 1


def _by_cause(facts: Counter[Fact]) -> Counter[str]:
    found: Counter[str] = Counter()
    for (cause, _, _), count in facts.items():
        found[cause] += count
    return found


def _thousandths(per_mille: int) -> str:
    return f"{per_mille // 1_000}.{per_mille % 1_000:03}"


if __name__ == "__main__":
    sys.exit(main())
