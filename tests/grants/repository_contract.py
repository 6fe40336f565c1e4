"""What every implementation of `GrantRepository` keeps; a subclass gives the `repository` fixture, empty and fresh."""

from dataclasses import replace
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any

import pytest

from remit.grants.model import (
    Boundary,
    Delegation,
    Envelope,
    Grant,
    Limit,
    OnExhausted,
    Overdraft,
    Rate,
    Renewal,
    Revision,
    Scope,
    Shape,
)
from remit.grants.ports import GrantRepository, PathTakenError, Remembered, Said, StaleRevisionError
from remit.grants.serialise import to_body
from remit.grants.usage import Usage, Used
from remit.kernel.ids import new_id

WHEN = datetime(2026, 6, 1, 12, 0, 0, 123456, tzinfo=UTC)
SAID = Said(at=WHEN, actor="ana@acme.example", operation="test")


def plain(path: str = "acme", parent: Grant | None = None) -> Grant:
    """A grant that says as little as possible."""
    return Grant(
        id=new_id("grant", WHEN),
        path=path,
        parent_id=parent.id if parent else None,
        owner="ana@acme.example",
        grant_class="production",
        starts_at=WHEN,
        expires_at=datetime(2027, 1, 1, tzinfo=UTC),
    )


def full(path: str, parent: Grant) -> Grant:
    """A grant with every field away from its default, and the largest amounts."""
    return replace(
        plain(path, parent),
        time_zone="America/New_York",
        scope=Scope(team="search", feature="ranking", tenant="t1", environment="prod", experiment="e1"),
        limits=(Limit("usd", 2**63 - 2, "month"), Limit("tokens", 0, "day"), Limit("requests", 5, "once")),
        rate=Rate(rpm=0, tpm=2**40, concurrency=3),
        shape=Shape(models=("gpt-4o*",), vendors=(), surfaces=("chat",), max_input_tokens=1, tools=False),
        data_classes=(),
        required_tags=("feature", "team"),
        delegation=Delegation(
            allowed=False,
            max_depth=0,
            overcommit_percent=50,
            max_term_days=90,
            boundary=Boundary(
                max_share_percent=20,
                max_nanousd=2**63 - 1,
                classes=("production",),
                models=(),
                owners=("*@acme.example",),
                grace_hours=24,
                auto_approve=Envelope(max_increase_percent=1, max_nanousd=2, max_renewals=3, max_term_days=4),
            ),
        ),
        on_exhausted=OnExhausted(pace_from_percent=None, page_percents=(), webhook="https://acme.example/ü?a=1"),
        overdraft=Overdraft(max_nanousd=1),
        renewal=Renewal(lead_time_days=0, auto_tier="small"),
        status="suspended",
        epoch=3,
    )


def revision_of(grant: Grant, reason: str = "because") -> Revision:
    return Revision(
        grant_id=grant.id,
        revision=grant.revision,
        body=to_body(grant),
        changed_at=WHEN,
        changed_by="bo@acme.example",
        reason=reason,
        idempotency_key="key-1",
    )


def put(repository: GrantRepository, *grants: Grant) -> None:
    with repository.write(SAID) as unit:
        for grant in grants:
            unit.insert(grant, revision_of(grant))


class GrantRepositoryContract:
    """Subclass it as `Test...` and override `repository`."""

    @pytest.fixture
    def repository(self) -> GrantRepository:
        """An empty repository."""
        raise NotImplementedError

    def use(self, repository: GrantRepository, used: Used) -> None:
        """Puts what gateways would have used of one limit in one period."""
        raise NotImplementedError

    def test_what_is_used_is_read_for_the_present_period(self, repository: GrantRepository) -> None:
        """Of the grants asked for, every limit whose period holds the instant, and neither past periods nor others' use."""
        root, other = replace(plain(), time_zone="Europe/Madrid"), plain("other")
        put(repository, root, other)
        month = datetime(2026, 5, 31, 22, tzinfo=UTC)
        day: Any = {"dimension": "tokens", "period": "day", "posted": 3, "held": 0}
        june = Used(grant_id=root.id, dimension="usd", period="month", starts_at=month, posted=7, held=5, borrowed=2)
        past = Used(grant_id=root.id, starts_at=datetime(2026, 5, 30, 22, tzinfo=UTC), **day)
        theirs = Used(grant_id=other.id, starts_at=datetime(2026, 6, 1, tzinfo=UTC), **day)
        for used in (june, past, theirs):
            self.use(repository, used)
        with repository.read() as reads:
            assert reads.used([root.id], WHEN) == [june]
            assert sorted(reads.used([root.id, other.id], WHEN), key=lambda one: one.posted) == [theirs, june]
            assert reads.used([], WHEN) == []
        with repository.write(SAID) as unit:
            assert Usage(unit.used([root.id], WHEN), WHEN).left(root, Limit("usd", 20, "month")) == 8

    def test_an_empty_repository_holds_nothing(self, repository: GrantRepository) -> None:
        """Nothing is found where nothing was written."""
        with repository.read() as unit:
            assert unit.load_tree() == []
            assert unit.find("acme") is None
            assert unit.revisions("grant_unknown") == []
        with repository.write(SAID) as writing:
            assert writing.remembered("key") is None

    def test_every_field_comes_back_as_it_was(self, repository: GrantRepository) -> None:
        """A grant and its revision are read back equal, by id and by path."""
        root = plain()
        child = full("acme/search", root)
        put(repository, root, child)
        with repository.read() as unit:
            assert sorted(unit.load_tree(), key=lambda one: one.path) == [root, child]
            assert unit.find(child.id) == child
            assert unit.find("acme/search") == child
            assert unit.find("acme/other") is None
            assert unit.revisions(child.id) == [revision_of(child)]

    def test_a_unit_reads_its_own_writes(self, repository: GrantRepository) -> None:
        """What a unit has written it sees, before others do."""
        root = plain()
        with repository.write(SAID) as unit:
            unit.insert(root, revision_of(root))
            assert unit.find("acme") == root
            newer = replace(root, revision=2, owner="cy@acme.example")
            unit.update(newer, 1, revision_of(newer, "handed over"))
            assert unit.load_tree() == [newer]
        with repository.read() as later:
            assert [one.reason for one in later.revisions(root.id)] == ["because", "handed over"]

    def test_a_block_that_raises_leaves_no_trace(self, repository: GrantRepository) -> None:
        """Grants, revisions and remembered answers of a failed unit are gone."""
        root = plain()
        put(repository, root)
        newer = replace(root, revision=2, status="suspended")

        def fail() -> None:
            with repository.write(SAID) as unit:
                unit.update(newer, 1, revision_of(newer))
                unit.insert(one := plain("acme/x", root), revision_of(one))
                unit.remember(Remembered(key="k", body={}, answer={}))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        with repository.write(SAID) as unit:
            assert unit.load_tree() == [root]
            assert len(unit.revisions(root.id)) == 1
            assert unit.remembered("k") is None

    def test_a_path_is_inserted_once(self, repository: GrantRepository) -> None:
        """A second grant of the same path raises, also when the first is revoked."""
        root = replace(plain(), status="revoked")
        put(repository, root)
        with pytest.raises(PathTakenError):
            put(repository, plain())
        with repository.read() as unit:
            assert unit.load_tree() == [root]

    def test_an_update_names_the_stored_revision(self, repository: GrantRepository) -> None:
        """Another expected revision raises, as does an unknown grant, and nothing changes."""
        root = plain()
        put(repository, root)
        newer = replace(root, revision=3)
        with pytest.raises(StaleRevisionError), repository.write(SAID) as unit:
            unit.update(newer, 2, revision_of(newer))
        stranger = replace(plain("other"), revision=2)
        with pytest.raises(StaleRevisionError), repository.write(SAID) as unit:
            unit.update(stranger, 1, revision_of(stranger))
        with repository.read() as unit:
            assert unit.load_tree() == [root]

    def test_an_answer_is_remembered_under_its_key(self, repository: GrantRepository) -> None:
        """Body and answer come back equal to the JSON that was given."""
        first = Remembered(
            key="k 1/ü",
            body={"operation": "create", "n": 2**63 - 1, "none": None, "list": [1, "ü"]},
            answer={"grants": [to_body(plain())]},
        )
        with repository.write(SAID) as unit:
            unit.remember(first)
            assert unit.remembered(first.key) == first
        with repository.write(SAID) as unit:
            assert unit.remembered(first.key) == first
            assert unit.remembered("k") is None

    def test_a_view_is_of_one_moment(self, repository: GrantRepository) -> None:
        """A read that began before a write does not see half of it."""
        root = plain()
        put(repository, root)
        with repository.read() as unit:
            before = unit.load_tree()
            put(repository, plain("acme/x", root))
            assert unit.load_tree() == before

    def test_writers_wait_for_each_other(self, repository: GrantRepository) -> None:
        """A second writer loads the tree only after the first has finished."""
        entered, seen = Event(), []

        def second() -> None:
            entered.set()
            with repository.write(SAID) as unit:
                seen.append(len(unit.load_tree()))

        with repository.write(SAID) as unit:
            unit.load_tree()
            thread = Thread(target=second)
            thread.start()
            assert entered.wait(10)
            root = plain()
            unit.insert(root, revision_of(root))
            thread.join(0.2)
            assert seen == []
        thread.join(10)
        assert seen == [1]
