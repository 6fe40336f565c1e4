"""Cost rules over HTTP and on a real database: who may, what is posted, once for each month, in an open month."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from itertools import count
from typing import Any

import httpx
import psycopg
import pytest

from remit.kernel.usage import Usage
from remit.ledger.accounting import Adjustment
from remit.ledger.months import Closed, Waiver
from remit.store.connect import opener
from remit.store.postgres_accounting import Posted, PostgresAccounting
from remit.store.postgres_months import PostgresMonths
from remit.store.postgres_rollups import PostgresRollups
from tests.api.support import Caller, Plane, refused
from tests.store.database import fresh_database

FIN, LEE, OLGA = "fin@acme.example", "lee@acme.example", "olga@acme.example"
TEAMS = ("search", "ads", "lab")
_numbers = count(1)


@pytest.fixture(scope="module")
def plane() -> Iterator[Plane]:
    """A control plane over a database of this process's own server, whose books agree afterwards."""
    with Plane(url=fresh_database()) as running:
        yield running
        # After all that was posted the books are in order.
        checks = {one["name"]: one for one in running.admin.get("/doctor").json()["checks"]}
        for name in ("transfers", "reports", "rollups", "audit", "months"):
            assert checks[name]["examined"] > 0 and checks[name]["differences"] == []


@pytest.fixture(scope="module")
def fin(plane: Plane) -> Caller:
    """Finance of the whole organization."""
    assert plane.admin.write("POST", "/roles", {"person": FIN, "role": "finance", "reason": "books"}).is_success
    return plane.caller(FIN)


@pytest.fixture(scope="module")
def lee(plane: Plane) -> Caller:
    """Another one: what is booked takes two people."""
    assert plane.admin.write("POST", "/roles", {"person": LEE, "role": "finance", "reason": "books"}).is_success
    return plane.caller(LEE)


class Books:
    """A root with a shared platform and three teams, all olga's; charges of a month of its own."""

    def __init__(self, plane: Plane, root: str, month: date) -> None:
        self.plane, self.root, self.month = plane, root, month
        self.ids = {root: plane.admin.made(root, 1000)["id"]}
        for team in ("platform", *TEAMS):
            grant = plane.admin.made(f"{root}/{team}", 100, owner=OLGA, scope={"team": f"{root}-{team}"})
            self.ids[team] = grant["id"]
        self.opens = opener(plane.url, "remit_authority")
        self.accounting = PostgresAccounting(self.opens, plane.authority.clock)

    def charge(self, team: str, amount: int, tokens: int = 0, **tags: str) -> None:
        """What a call would have left, without a call."""
        at = datetime(self.month.year, self.month.month, 14, 12, tzinfo=UTC)
        one = Adjustment(
            grant_id=self.ids[team],
            vendor="openai",
            amount_nanousd=amount,
            held_at=at,
            cause="metered_late",
            tags={"team": f"{self.root}-{team}", **tags},
            usage=Usage(input_tokens=tokens),
            requests=1,
        )
        key = f"charge {next(_numbers)}"
        assert isinstance(self.accounting.post([one], by=FIN, reason="r", key=key, source="command"), Posted)

    def by(self, name: str, caller: Caller | None = None) -> dict[str, int]:
        """The report of the month, of this root, in nano-USD."""
        report = (caller or self.plane.admin).get(
            "/ledger/report",
            by=name,
            under=self.root,
            since=f"{self.month}T00:00:00Z",
            until=f"{self.month.replace(day=28)}T00:00:00Z",
        )
        return {row["group"][0]: row["amount_nanousd"] for row in report.json()["rows"]}

    def teams(self) -> list[int]:
        """What the platform and each team bear."""
        found = self.by("team")
        return [found.get(f"{self.root}-{team}", 0) for team in ("platform", *TEAMS)]

    def rule(self, caller: Caller, **more: Any) -> httpx.Response:
        body = {
            "owner": FIN,
            "description": "the shared service",
            "source": {"team": [f"{self.root}-platform"]},
            "method": "by_use",
            "use": {"measure": "tokens", "only": {"team": [f"{self.root}-{team}" for team in TEAMS]}},
            "reason": "agreed",
        }
        return caller.write("PUT", f"/cost-rules/{self.root}", body | more)

    def post(self, caller: Caller, **more: Any) -> httpx.Response:
        body = {"month": f"{self.month:%Y-%m}", "reason": "the month"}
        return caller.write("POST", f"/cost-rules/{self.root}/post", body, **more)


@pytest.fixture
def books(plane: Plane, name: str) -> Books:
    """The platform was charged 100; the teams used 3, 2 and 1 tokens for 30, 40 and 50."""
    made = Books(plane, name, date(2025, next(_numbers) % 12 + 1, 1))
    made.charge("platform", 100)
    for team, amount, tokens in zip(TEAMS, (30, 40, 50), (3, 2, 1), strict=True):
        made.charge(team, amount, tokens)
    return made


@pytest.mark.parametrize("folded", [True, False])
def test_shared_cost_is_divided_by_use(books: Books, fin: Caller, lee: Caller, folded: bool) -> None:
    """Totals stay, teams change; the preview says what is posted; posted again, nothing moves; limits hear nothing of it."""
    if folded:
        PostgresRollups(books.opens).fold()
    assert books.rule(lee).status_code == 200
    before, buckets = sum(books.teams()), books.plane.sql("SELECT * FROM buckets ORDER BY node_id")
    seen = fin.get(f"/cost-rules/{books.root}/preview", month=f"{books.month:%Y-%m}").json()
    assert books.teams() == [100, 30, 40, 50]
    posted = books.post(fin).json()
    assert books.teams() == [0, 30 + 50, 40 + 33, 50 + 17] and sum(books.teams()) == before
    assert {**posted, "entry_ids": []} == seen and len(posted["entry_ids"]) == 4
    assert [(one["weight"], one["of"], one["unit"]) for one in posted["parts"]] == [
        (3, 6, "tokens"), (2, 6, "tokens"), (1, 6, "tokens"),
    ]  # fmt: skip
    assert (posted["amount_nanousd"], posted["booked_in"]) == (100, posted["month"])
    again = books.post(fin).json()
    assert (again["transfer_id"], again["entry_ids"], books.teams()) == (None, [], [0, 80, 73, 67])
    assert books.plane.sql("SELECT * FROM buckets ORDER BY node_id") == buckets


def test_what_comes_later_is_moved_later(books: Books, fin: Caller, lee: Caller) -> None:
    """A second run of a month moves the rest alone, under a number of its own; the same key posts once."""
    books.rule(lee)
    first = books.post(fin, key=f"{books.root}-1")
    assert books.post(fin, key=f"{books.root}-1").json() == first.json()
    books.charge("platform", 60)
    second = books.post(fin).json()
    assert (second["amount_nanousd"], second["transfer_id"]) == (60, f"{books.root}/{books.month:%Y-%m}/2")
    assert books.teams() == [0, 80 + 30, 73 + 20, 67 + 10]
    entries = books.plane.sql(
        "SELECT settlement FROM entries WHERE settlement ->> 'rule' = %s AND settlement ->> 'part' = 'to' ORDER BY seq",
        books.root,
    )
    assert [(one["revision"], one["method"], one["month"]) for (one,) in entries] == [
        (1, "by_use", f"{books.month:%Y-%m}")
    ] * 6


def test_what_is_divided_is_no_use_of_its_own(books: Books, fin: Caller, lee: Caller) -> None:
    """Who selects all charges divides by those of others: the source gets no part of itself."""
    grants = [f"{books.root}/platform", f"{books.root}/lab"]
    books.rule(lee, use={"measure": "amount", "only": {"grant": grants}})
    (part,) = books.post(fin).json()["parts"]
    assert (part["grant_id"], part["weight"], part["of"]) == (books.ids["lab"], 50, 50)


def test_use_by_the_values_of_a_tag(books: Books, fin: Caller, lee: Caller) -> None:
    """Each grant pays under the value it was used for, and under none where it was used for none."""
    books.charge("search", 0, 6, feature="maps")
    books.rule(lee, use={"measure": "tokens", "only": {"grant": [f"{books.root}/search"]}, "by": "feature"})
    parts = {part["tags"].get("feature"): part["amount_nanousd"] for part in books.post(fin).json()["parts"]}
    assert parts == {"maps": 67, None: 33} and books.teams() == [0, 130, 40, 50]


def test_who_posts_at_the_same_time_posts_once(books: Books, fin: Caller, lee: Caller) -> None:
    """Of several at once, under keys of their own, one moves the cost and the others find nothing left."""
    books.rule(lee)
    with ThreadPoolExecutor(4) as pool:
        answers = [one.json() for one in pool.map(lambda _: books.post(fin), range(4))]
    assert sorted(one["amount_nanousd"] for one in answers) == [0, 0, 0, 100]
    assert books.teams() == [0, 80, 73, 67]


def test_a_source_may_keep_a_part(books: Books, fin: Caller, lee: Caller) -> None:
    """A target that is the source itself keeps its share, and is not asked for it again."""
    targets = [{"grant": f"{books.root}/{team}"} for team in ("platform", "search")]
    assert books.rule(lee, method="even", use=None, targets=targets).is_success
    books.post(fin)
    assert books.teams() == [50, 80, 40, 50]
    assert books.post(fin).json()["transfer_id"] is None
    assert books.teams() == [50, 80, 40, 50]


def test_two_rules_share_one_source(books: Books, fin: Caller, lee: Caller) -> None:
    """What one rule moved away is not there for another, whatever it is selected by."""
    books.rule(lee)
    books.post(fin)
    other = {
        "owner": FIN, "description": "all of the vendor's", "source": {"vendor": ["openai"], "grant": [f"{books.root}/platform"]},
        "method": "even", "targets": [{"grant": books.root}], "reason": "again",
    }  # fmt: skip
    assert lee.write("PUT", f"/cost-rules/{books.root}-b", other).is_success
    body = {"month": f"{books.month:%Y-%m}", "reason": "again"}
    assert fin.write("POST", f"/cost-rules/{books.root}-b/post", body).json()["transfer_id"] is None


def test_tags_are_put_right_by_a_rule(books: Books, fin: Caller, lee: Caller) -> None:
    """A fixed rule from the wrong tags to the right ones: the entries stay, the report is right, grants bear what they did."""
    books.charge("search", 9, feature=f"{books.root}-serch")
    grants = books.by("grant")
    right = {
        "source": {"feature": [f"{books.root}-serch"]},
        "method": "fixed",
        "use": None,
        "targets": [{"grant": None, "tags": {"feature": f"{books.root}-search"}, "ppm": 1_000_000}],
    }
    assert books.rule(lee, **right).is_success and books.post(fin).is_success
    found = books.by("feature")
    assert (found[f"{books.root}-serch"], found[f"{books.root}-search"]) == (0, 9)
    assert books.by("grant") == grants and books.teams() == [100, 39, 40, 50]
    assert books.post(fin).json()["transfer_id"] is None


def test_a_revision_takes_two_people(books: Books, fin: Caller, lee: Caller) -> None:
    """Who wrote it posts it when somebody else has, and then every month; another revision takes another word."""
    assert (books.rule(lee).json()["written_by"], books.rule(lee).json()["agreed_by"]) == (LEE, None)
    told = refused(books.post(lee), 403, "second_person_needed")
    assert "somebody else of finance posts it first" in told["detail"] and books.teams() == [100, 30, 40, 50]
    assert books.post(fin).is_success
    read = fin.get(f"/cost-rules/{books.root}").json()
    assert (read["written_by"], read["agreed_by"]) == (LEE, FIN)
    books.charge("platform", 60)
    assert books.post(lee).json()["amount_nanousd"] == 60, "agreed to once, it is anybody's of finance"
    assert books.rule(fin, description="other").json()["agreed_by"] is None
    books.charge("platform", 6)
    refused(books.post(fin), 403, "second_person_needed")
    assert books.post(lee).json()["revision"] == 2
    wrote = books.plane.sql("SELECT name, revision, agreed_by FROM cost_rule_agreements WHERE name = %s", books.root)
    assert wrote == [(books.root, 1, FIN), (books.root, 2, LEE)]
    audited = books.plane.admin.get("/audit", subject=books.root, outcome="done").json()["rows"]
    assert [row["actor"] for row in audited if row["subject_kind"] == "cost_rule_agreement"] == [FIN, LEE]


def test_the_database_takes_no_word_for_ones_own_rule(books: Books, lee: Caller) -> None:
    """Under any spelling of the name."""
    books.rule(lee)
    with pytest.raises(psycopg.errors.CheckViolation, match="somebody else has to agree"):
        books.plane.insert(
            "INSERT INTO cost_rule_agreements VALUES (%(name)s, 1, now(), 'LEE@acme.example', 'r')",
            {"name": books.root},
        )


def test_nobody_of_finance_relieves_themselves(books: Books, plane: Plane, fin: Caller, lee: Caller) -> None:
    """The owner of what is charged less, of what stands above it, and who stands in for one, post nothing of it; others do."""
    sam, ida, eve = (f"{name}-{books.root}@acme.example" for name in ("sam", "ida", "eve"))
    for person in (sam, ida, eve):
        assert plane.admin.write("POST", "/roles", {"person": person, "role": "finance", "reason": "r"}).is_success
    plane.admin.patch(f"{books.root}/lab", owner=ida)
    books.ids["one"] = plane.admin.made(f"{books.root}/lab/one", 10, owner=sam)["id"]
    books.charge("one", 80)
    targets = [{"grant": f"{books.root}/ads"}, {"grant": f"{books.root}/lab/one"}]
    terms = {"source": {"grant": [f"{books.root}/lab/one"]}, "method": "even", "use": None, "targets": targets}
    assert books.rule(plane.caller(sam), **terms).is_success, "what is only written moves nothing"
    away = {"delegate": eve, "until": "2098-01-01T00:00:00Z", "reason": "away"}
    assert plane.caller(sam).write("POST", f"/people/{sam}/delegate", away).is_success
    before = books.by("grant")
    for person, words in (
        (sam, "/lab/one` is charged less"),
        (ida, "/lab` is charged less"),
        (eve, "they stand in for"),
    ):
        assert words in refused(books.post(plane.caller(person)), 403, "relieves_yourself")["detail"]
    assert books.by("grant") == before
    assert books.post(fin).json()["amount_nanousd"] == 80
    after = books.by("grant")
    assert (before[f"{books.root}/lab/one"], after[f"{books.root}/lab/one"]) == (80, 40)
    books.charge("one", 80)
    refused(books.post(plane.caller(sam)), 403, "relieves_yourself")
    assert books.post(lee).is_success


def test_nobody_moves_cost_away_from_themselves(books: Books, plane: Plane, fin: Caller) -> None:
    """The owner of source and targets, and of the rule itself, cannot write, post or retire it, nor can finance of a part."""
    books.rule(fin, owner=OLGA)
    olga = plane.caller(OLGA)
    bound = {"person": "bo@acme.example", "role": "finance", "grant": books.root, "reason": "part of it"}
    assert plane.admin.write("POST", "/roles", bound).is_success
    auditor = {"person": "au@acme.example", "role": "auditor", "reason": "looks"}
    assert plane.admin.write("POST", "/roles", auditor).is_success
    for caller in (olga, plane.caller("bo@acme.example"), plane.caller("au@acme.example")):
        for answer in (
            books.rule(caller),
            books.post(caller),
            caller.write("POST", f"/cost-rules/{books.root}/retire", {"reason": "mine"}),
        ):
            refused(answer, 403, "not_permitted")
    for caller in (olga, plane.caller("bo@acme.example")):
        refused(caller.get("/cost-rules"), 403, "not_permitted")
        refused(caller.get(f"/cost-rules/{books.root}/preview", month="2026-10"), 403, "not_permitted")
    assert plane.caller("au@acme.example").get(f"/cost-rules/{books.root}").status_code == 200
    assert books.teams() == [100, 30, 40, 50]


def test_what_cannot_be_divided_is_refused_and_moves_nothing(books: Books, fin: Caller, lee: Caller) -> None:
    """No use is no equal use; a rule that is retired or was never there is posted by nobody."""
    books.rule(lee, use={"measure": "tokens", "only": {"team": ["nobody"]}})
    refused(books.post(fin), 422, "nothing_used")
    assert fin.write("POST", f"/cost-rules/{books.root}/retire", {"reason": "over"}).json()["is_retired"] is True
    refused(books.post(fin), 404, "unknown_cost_rule")
    refused(fin.get("/cost-rules/never"), 404, "unknown_cost_rule")
    assert books.teams() == [100, 30, 40, 50]


def test_a_rule_has_revisions(books: Books, fin: Caller) -> None:
    """The same again is no revision, another If-Match than the stored one is refused, and the audit has what was before."""
    assert (books.rule(fin).json()["revision"], books.rule(fin).json()["revision"]) == (1, 1)
    assert books.rule(fin, description="other").json()["revision"] == 2
    body = {"owner": FIN, "description": "d", "source": {"team": ["x"]}, "method": "even", "reason": "r"}
    refused(fin.write("PUT", f"/cost-rules/{books.root}", body, if_match=1), 409, "revision_conflict")
    refused(fin.write("PUT", f"/cost-rules/{books.root}", body, if_match=2), 422, "method_invalid")
    gone = {**body, "targets": [{"grant": "never/there"}]}
    refused(fin.write("PUT", f"/cost-rules/{books.root}", gone), 404, "grant_unknown")
    rows = books.plane.admin.get("/audit", subject=books.root, outcome="done").json()["rows"]
    assert [row["after"]["description"] for row in rows if row["subject_kind"] == "cost_rule"] == [
        "the shared service",
        "other",
    ]
    assert rows[-1]["before"] == rows[-2]["after"]


def test_a_target_keeps_to_the_vocabulary(books: Books, fin: Caller) -> None:
    """Cost is moved under no value that its tag may not have."""
    tag = {"owner": FIN, "description": "d", "values": ["a"], "under": books.root, "reason": "r"}
    assert fin.write("PUT", "/tags/experiment", tag).is_success
    wrong = {"method": "even", "use": None, "targets": [{"grant": books.root, "tags": {"experiment": "b"}}]}
    refused(books.rule(fin, **wrong), 422, "tag_value_not_allowed")


def test_a_closed_month_is_booked_in_the_open_one(plane: Plane, fin: Caller, lee: Caller, name: str) -> None:
    """The month's own reports change by when it was used; what was signed off does not, and the answer says so."""
    books = Books(plane, name, date(2024, 1, 1))
    books.charge("platform", 100)
    books.charge("search", 1, 1)
    books.rule(lee)
    months = PostgresMonths(books.opens, plane.authority.clock)
    waived = [Waiver(what="no_bill", vendor="openai", reason="a test")]
    closed = months.close(date(2024, 1, 1), [], waived, FIN, "done", f"close {name}", "command", alone_nanousd=1_000)
    assert isinstance(closed, Closed), closed
    posted = books.post(fin).json()
    assert (posted["month"], posted["booked_in"]) == ("2024-01", "2024-02")
    assert books.teams()[:2] == [0, 101]
    rows = plane.sql("SELECT DISTINCT billing_month::text, held_at::date::text FROM entries WHERE kind = 'transfer'"
                     " AND settlement ->> 'rule' = %s", books.root)  # fmt: skip
    assert rows == [("2024-02-01", "2024-01-01")]
    (check,) = (one for one in plane.admin.get("/doctor").json()["checks"] if one["name"] == "months")
    assert check["differences"] == []
