"""One gateway's worth of load on a `PostgresLessor`, as a process of its own.

Prints the number of taken, refused and stale holds; any other exception ends it with a traceback.
"""

import asyncio
import random
import sys

from remit.kernel.clock import SystemClock
from remit.kernel.ids import new_id
from remit.leases.model import Ending, WantedHold
from remit.leases.ports import StaleTreeError, TakenHold
from remit.leases.rules import hold_lines
from remit.leases.terms import terms_of_grant
from remit.store.postgres_lessor import PostgresLessor
from remit.store.postgres_tree import PostgresTree
from tests.leases.trial import SETTLED, entry_of


async def run(url: str, seed: int, calls: int, at_once: int) -> None:
    """Makes that many calls at random leaves, each taken, ended and sometimes ended again."""
    dice = random.Random(seed)
    clock = SystemClock()
    lessor, reader = PostgresLessor(url, clock), PostgresTree(url)
    tree = await reader.read()
    counts = {"taken": 0, "refused": 0, "stale": 0}
    gate, reading = asyncio.Semaphore(at_once), asyncio.Lock()

    async def call() -> None:
        nonlocal tree
        async with gate:
            seen = tree
            grants = {grant.id: grant for grant in seen.grants}
            leaf = dice.choice([one for one in grants.values() if one.path.count("/") == 2])
            chain = [leaf]
            while (parent := chain[0].parent_id) is not None:
                chain.insert(0, grants[parent])
            now = clock.now()
            amount = dice.choice((1, 5, 20))
            hold = WantedHold(
                id=new_id("hold", now),
                operation_id=new_id("op", now),
                request_id=new_id("req", now),
                grant_id=leaf.id,
                taken_at=now,
                expires_at=now.replace(year=2090),
                ceiling_nanousd=amount,
                ceiling_tokens=amount,
                lines=hold_lines([terms_of_grant(one) for one in chain], usd=amount, tokens=amount, now=now),
                entry=entry_of(leaf.path, [one.id for one in chain]),
            )
            try:
                answer = await lessor.take(hold, seen.revision)
            except StaleTreeError:
                counts["stale"] += 1
                async with reading:
                    if tree is seen:
                        tree = await reader.read()
                return
            if not isinstance(answer, TakenHold):
                counts["refused"] += 1
                return
            counts["taken"] += 1
            outcome = dice.choice(("settled", "settled", "voided", "suspense"))
            ending = Ending(hold_id=hold.id, outcome=outcome, usd=amount // 2, tokens=amount // 2, entry=SETTLED)  # type: ignore[arg-type]
            assert (await lessor.finish(ending)).outcome == outcome
            if dice.random() < 0.3:
                again = await lessor.finish(ending)
                assert again.outcome in ("already_settled", "corrected"), again

    await asyncio.gather(*(call() for _ in range(calls)))
    await lessor.close()
    print(counts["taken"], counts["refused"], counts["stale"])


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
