"""An organisation to ask and decide in: a real database, a clock that moves when told, people by name."""

import json
import secrets
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from remit.bootstrap import Authority
from remit.grants.edits import GrantEdit, NewGrant
from remit.grants.model import Actor, Grant, Limit, Problem, Role, RoleBinding
from remit.grants.service import Authorship, NotWritten, Written
from remit.grants.tree import Tree
from remit.renewals import requests
from remit.renewals.model import Ticket
from remit.renewals.rounds import Did
from remit.renewals.service import Asked, LookAgain
from remit.settings import load_settings
from remit.testing.clock import ManualClock
from tests.leases.trial import Trial, node_of
from tests.store.database import fresh_database

START = datetime(2027, 1, 4, 9, 0, tzinfo=UTC)
USD = 1_000_000_000
ADMIN, RITA, SAM, TOM, EVE = (f"{name}@acme.example" for name in ("ada", "rita", "sam", "tom", "eve"))


def usd(amount: int, period: Any = "month") -> Limit:
    """So many dollars per period."""
    return Limit("usd", amount * USD, period)


class Office:
    """`acme` is ada's, `acme/research` rita's, `acme/research/search` sam's, `acme/research/eval` tom's."""

    def __init__(self, **settings: Any) -> None:
        self.clock = ManualClock(START)
        overrides = {"data_dir": Path(tempfile.mkdtemp(prefix="remit-office-")), **settings}
        self.authority = Authority(load_settings(None, overrides, {}), fresh_database(), self.clock)
        self.authority.people().create(ADMIN, "setup", is_admin=True, life=timedelta(days=366))
        self.make("acme", ADMIN, usd(1000), grant_class="production", expires_at=START + timedelta(days=365))
        self.make("acme/research", RITA, usd(500))
        self.make("acme/research/search", SAM, usd(200), expires_at=START + timedelta(days=90))
        self.make(
            "acme/research/eval", TOM, usd(100), grant_class="experimentation", expires_at=START + timedelta(days=90)
        )

    def make(self, path: str, owner: str, *limits: Limit, by: str = ADMIN, **more: Any) -> Grant:
        new = NewGrant(path=path, owner=owner, limits=limits, **more)
        answer = self.authority.grants.create(new, self.by(by, admin=by == ADMIN))
        assert isinstance(answer, Written), answer
        return answer.grant

    def change(self, path: str, **fields: Any) -> Grant:
        """The admin changes a grant."""
        answer = self.try_change(path, **fields)
        assert isinstance(answer, Written), answer
        return answer.grant

    def try_change(self, path: str, **fields: Any) -> Written | NotWritten:
        """The same, where the rules may say no."""
        return self.authority.grants.change(path, GrantEdit(**fields), self.by(ADMIN, admin=True))

    def by(self, name: str, *, admin: bool = False, key: str | None = None) -> Authorship:
        return Authorship(actor=Actor(name, admin), reason="for a test", idempotency_key=key or secrets.token_hex(8))

    def grant(self, path: str) -> Grant:
        with self.authority.repository.read() as reads:
            grant = reads.find(path)
        assert grant is not None
        return grant

    def spend_limit(self, path: str, period: str = "month") -> int:
        """The usd limit of a grant in whole dollars."""
        (amount,) = [one.amount for one in self.grant(path).limits if (one.dimension, one.period) == ("usd", period)]
        return amount // USD

    def ask(self, name: str, make: Any, *arguments: Any) -> Ticket | list[Problem]:
        """Opens what a function of `remit.renewals.requests` makes of these arguments."""

        def do(unit: Any) -> Any:
            asked = make(unit.tree(), *arguments) if make is not requests.new_grant else make(*arguments)
            if isinstance(asked, Problem):
                return asked
            assert isinstance(asked, Asked)
            return self._kept(self.authority.tickets_over(unit).open(asked, self.by(name)))

        return self._answer(
            self.authority.writes.once(secrets.token_hex(8), {"actor": name, "operation": "ask or decide"}, do)
        )

    def opened(self, name: str, make: Any, *arguments: Any) -> Ticket:
        ticket = self.ask(name, make, *arguments)
        assert isinstance(ticket, Ticket), ticket
        return ticket

    def decide(self, verb: str, name: str, ticket: str, *, admin: bool = False) -> Ticket | list[Problem]:
        """`approve`, `decline` or `withdraw` as a person."""

        def do(unit: Any) -> Any:
            service = self.authority.tickets_over(unit)
            return self._kept(getattr(service, verb)(ticket, self.by(name, admin=admin)))

        return self._answer(
            self.authority.writes.once(secrets.token_hex(8), {"actor": name, "operation": "ask or decide"}, do)
        )

    def give(self, person: str, role: Role, path: str | None) -> str:
        """A role for somebody, for everything or bound to a grant; its id."""
        binding = RoleBinding(role, None if path is None else self.grant(path).id)
        asked = {"actor": ADMIN, "operation": "prepare"}

        def do(unit: Any) -> Any:
            return self.authority.roster_over(unit).give(person, binding, Actor(ADMIN, True), "command"), {}

        return str(self.authority.writes.once(secrets.token_hex(8), asked, do).id)

    def round(self) -> Did:
        """What the authority does by itself at this moment."""
        self.authority.grants.expire_due(self.by("remit", admin=True))

        return self.authority.renewals_round()

    def ticket(self, ticket_id: str) -> Ticket:
        found = self.authority.ticket(ticket_id)
        assert found is not None
        return found[0]

    def tree(self) -> Tree:
        with self.authority.repository.read() as reads:
            return Tree(reads.load_tree())

    def tickets(self) -> list[Ticket]:
        """Every ticket there is."""
        return self.authority.tickets_listed()

    def _rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.authority.url, options="-c search_path=remit") as connection:
            return connection.execute(statement.encode(), parameters).fetchall()

    def revisions_of(self, ticket_id: str) -> int:
        """How many revisions of grants an approval of this ticket wrote."""
        statement = "SELECT count(*) FROM grant_revisions WHERE idempotency_key = %s"
        return int(self._rows(statement, f"ticket:{ticket_id}")[0][0])

    def authors(self) -> list[tuple[Any, ...]]:
        """(path, who, why) of every revision."""
        return self._rows("SELECT body ->> 'path', changed_by, reason FROM grant_revisions")

    def owe(self, path: str, amount: int) -> None:
        """A call of so many nano-USD through a grant that has no limit left but its overdraft."""
        self.spend(path, amount)

    def spend(self, path: str, amount: int) -> None:
        """A call of so many nano-USD through a grant."""
        trial, hold = self._taken(path, amount)
        assert trial.settle(hold, amount) == "settled"
        trial.close()

    def spend_at(self, path: str, price: int, model: str = "sim-dime") -> None:
        """A call of one nano-USD through a grant, at so many nano-USD per million output tokens."""
        trial, hold = self._taken(path, 1)
        line = {"kind": "output", "units": 1, "price_nanousd_per_million": price, "amount_nanousd": 1}
        entry = {"usage_source": "vendor", "model_served": model, "tier": "default", "price_lines": [line]}
        rows = json.dumps([{"id": hold, "outcome": "settled", "usd": 1, "tokens": 1, "entry": entry}])
        trial.call(trial.gateway, "SELECT finish_holds(%s, %s::jsonb)", self.clock.now(), rows)
        trial.close()

    def held(self, path: str, amount: int) -> str:
        """A call that does not end; the id of its hold."""
        trial, hold = self._taken(path, amount)
        trial.close()
        return hold

    def _taken(self, path: str, amount: int) -> tuple[Trial, str]:
        leaf = self.grant(path)
        trial = Trial(self.authority.url)
        trial.clock = self.clock
        trial.grants = {one.id: one for one in self.tree()}
        trial.oracle.nodes = {one.id: node_of(one) for one in self.tree()}
        hold = trial.hold(leaf, amount, name=f"hold-{secrets.token_hex(8)}")
        assert trial.take(hold) == [True]
        return trial, hold.id

    def notices(self, kind: str) -> list[dict[str, Any]]:
        rows = self.authority.ledger.notifications(1000, undelivered=False)
        return [row for row in rows if row["kind"] == kind]

    def bodies(self, kind: str) -> list[dict[str, Any]]:
        """What notifications of a kind say, oldest first."""
        return [row[0] for row in self._rows("SELECT body FROM notifications WHERE kind = %s ORDER BY id", kind)]

    def recipients(self) -> list[tuple[Any, ...]]:
        """(kind, who is told) of every notification, oldest first."""
        return self._rows("SELECT kind, recipients FROM notifications ORDER BY id")

    @staticmethod
    def _kept(answer: Ticket | LookAgain | list[Problem]) -> Any:
        if isinstance(answer, LookAgain):
            return [answer.problem], {}
        return (answer, {}) if isinstance(answer, Ticket) else answer[0]

    @staticmethod
    def _answer(answer: Any) -> Any:
        return [answer] if isinstance(answer, Problem) else answer


def codes(problems: Ticket | list[Problem]) -> list[str]:
    """The codes of a refusal."""
    assert isinstance(problems, list), problems
    return [problem.code for problem in problems]
