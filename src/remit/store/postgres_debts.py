"""Debts in PostgreSQL: settling them, and what is owed."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import psycopg

from remit.grants.model import Grant, Problem
from remit.grants.ports import Said
from remit.kernel.clock import Clock
from remit.kernel.money import format_usd
from remit.leases.debts import is_due, repaying_line
from remit.leases.model import HoldLine
from remit.leases.terms import terms_of_grant
from remit.ledger.model import Debt
from remit.store.authored import record_deed, say_unless_said
from remit.store.connect import Opens
from remit.store.lines import line_json
from remit.store.named import query
from remit.store.postgres_grants import TreeUnit
from remit.store.postgres_ledger import read_debts

How = Literal["repay", "forgive"]
AUTOMATIC = "remit"
"""Who repays what is due at the beginning of a period."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What was settled and what is still owed afterwards, in nano-USD. `is_repeated`: it was done before, under the same key."""

    settled: int
    outstanding: int
    is_repeated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaid:
    """One debt that was repaid, and how far."""

    debt: Debt
    settled: int
    outstanding: int


def dedupe_key(debt: Debt) -> str:
    """What tickets about this debt have in common: `debt:<grant>:<period kind>:<where the oldest part's period began>`."""
    assert debt.period_start is not None
    return f"debt:{debt.grant_id}:{debt.period}:{debt.period_start.astimezone(UTC).isoformat()}"


class PostgresDebts:
    """Over connections in the authority's role, or over that of one open write."""

    def __init__(self, opens: Opens, clock: Clock) -> None:
        self._opens = opens
        self._clock = clock

    def owed(self) -> list[Debt]:
        """Accounts on which something is owed, or was settled too much, by path."""
        with self._opens() as connection:
            return read_debts(connection, nodes=None, settled=False)

    def without_ticket(self) -> list[Debt]:
        """What is owed and no open ticket asks anybody about."""
        with self._opens() as connection:
            asked = {row[0] for row in connection.execute(query("debt_tickets_open")).fetchall()}
            debts = read_debts(connection, nodes=None, settled=False)
        return [debt for debt in debts if debt.outstanding > 0 and dedupe_key(debt) not in asked]

    def settle(
        self, grant_id: str, period: str, amount_nanousd: int, how: How, *, by: str, note: str | None, key: str
    ) -> Settled | Problem:
        """Repays a debt out of the period that holds the present, as far as it fits, or forgives it.

        `amount_nanousd` is more than zero. One settlement for each key; asked for again it is answered as the first time. A
        problem (codes: debt_no_debt, debt_more_than_owed, debt_no_limit, debt_period_not_over, debt_no_room,
        conflict_different_<field>, grant_unknown) has changed nothing.
        """
        with self._opens() as connection, connection.transaction():
            # Before the grant is read, so that its limits are those of the revision that is settled at.
            connection.execute("SELECT lock_tree(true)")
            grant = TreeUnit(connection).find(grant_id)
            if grant is None:
                return Problem(code="grant_unknown", path=grant_id, detail=f"there is no grant `{grant_id}`")
            now = self._clock.now()
            line = repaying_line(terms_of_grant(grant), period, now) if how == "repay" else None
            row = connection.execute(
                query("debt_settle"),
                {
                    "now": now,
                    "grant_id": grant.id,
                    "period": period,
                    "amount": amount_nanousd,
                    "how": how,
                    "by": by,
                    "note": note,
                    "key": key,
                    "line": None if line is None else _json(line),
                },
            ).fetchone()
            assert row is not None
            if "settled" in row[0] and not row[0]["repeated"]:
                said = Said(at=now, actor=by, operation=f"debt {how}", reason=note or "", request_key=key[:200])
                say_unless_said(connection, said, "upkeep")
                what = {"how": how, "settled_nanousd": row[0]["settled"], "outstanding_nanousd": row[0]["outstanding"]}
                record_deed(connection, "debt", f"{grant.id}:{period}", grant.id, what)
        return _answer(row[0], grant, period, amount_nanousd)

    def repay_due(self) -> list[Repaid]:
        """Repays what was lent in periods that are over, as far as it fits into the present ones; answers what it did.

        And gives back what was settled too much. Debts of grants that are not live any more wait for a person.
        """
        repaid = []
        for debt in self.owed():
            if debt.outstanding < 0:
                with self._opens() as connection:
                    connection.execute(
                        "SELECT return_overpaid(%s, %s, %s)", (self._clock.now(), debt.grant_id, debt.period)
                    )
            elif self._is_due(debt):
                now = self._clock.now()
                answer = self.settle(
                    debt.grant_id,
                    debt.period,
                    debt.outstanding,
                    "repay",
                    by=AUTOMATIC,
                    note="repaid from the next period",
                    key=f"repay-due:{debt.grant_id}:{debt.period}:{now.isoformat()}",
                )
                if isinstance(answer, Settled):
                    repaid.append(Repaid(debt=debt, settled=answer.settled, outstanding=answer.outstanding))
        return repaid

    def _is_due(self, debt: Debt) -> bool:
        """Asked without a lock, so that a debt that cannot be repaid yet keeps nobody waiting."""
        now = self._clock.now()
        with self._opens() as connection:
            grant = TreeUnit(connection).find(debt.grant_id)
            assert grant is not None, "grants are never removed"
            line = repaying_line(terms_of_grant(grant), debt.period, now)
            return grant.is_live(now) and is_due(debt, line, used=_used(connection, line))


def _used(connection: psycopg.Connection, line: HoldLine | None) -> int:
    if line is None:
        return 0
    of_bucket = {"node": line.node_id, "kind": line.kind, "starts": line.starts}
    row = connection.execute(query("debt_used"), of_bucket).fetchone()
    return 0 if row is None else int(row[0])


def _json(line: HoldLine) -> str:
    return msgspec.json.encode(line_json(line)).decode()


def _answer(row: dict[str, Any], grant: Grant, period: str, asked: int) -> Settled | Problem:
    if "settled" in row:
        return Settled(settled=row["settled"], outstanding=row["outstanding"], is_repeated=row["repeated"])
    assert "stale" not in row, "the tree does not change while it is locked"
    code = row["refused"]
    owed = format_usd(row.get("outstanding", 0))
    ends = f"{datetime.fromisoformat(row['ends']):%Y-%m-%dT%H:%M:%SZ}" if "ends" in row else ""
    if period == "once" and code == "period_not_over":
        detail = f"the {owed} that `{grant.path}` owes were lent by a limit without a later period: they can only be forgiven"
        return Problem(code="debt_period_not_over", path=grant.path, detail=detail)
    details = {
        "no_debt": f"`{grant.path}` owes nothing for any {period}",
        "more_than_owed": f"`{grant.path}` owes {owed}, {format_usd(asked)} were to be settled",
        "no_limit": f"`{grant.path}` has no limit in money per {period} any more that could repay the {owed} it owes",
        "period_not_over": f"the {owed} that `{grant.path}` owes were lent in the {period} that ends at {ends}",
        "no_room": f"nothing is left of the limit per {period} of `{grant.path}`; it owes {owed}, and the {period} ends at {ends}",
    }
    if code not in details:
        field = code.removeprefix("conflict_different_")
        return Problem(
            code=code, path=grant.path, detail=f"another debt was settled under this key: its {field} is different"
        )
    return Problem(code=f"debt_{code}", path=grant.path, detail=details[code])
