"""Credentials and the tree against real traffic: rotation, revocation, containment, classes, tags."""

import itertools
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from remit.capabilities.access_keys import parse_access_key
from remit.capabilities.model import Limit as BlockLimit
from remit.grants.edits import GrantEdit, NewGrant
from remit.grants.keys import NewKey
from remit.grants.model import Limit, Overdraft
from remit.grants.service import Answer, Authorship, NotWritten, Written
from tests.conformance.support import DIME, DOLLAR, ask, ask_many, codes, dime, open_stream, read_raw
from tests.system.harness import ADMIN, System, root


def by() -> Authorship:
    """A write of its own."""
    return Authorship(actor=ADMIN, reason="test", idempotency_key=os.urandom(8).hex())


def key_id(text: str) -> str:
    """The id of an access key."""
    parsed = parse_access_key(text)
    assert parsed is not None
    return parsed.key_id


def rotated(system: System, text: str) -> str:
    """The key's successor."""
    new = system.authority.keys().rotate(key_id(text), ADMIN)
    assert isinstance(new, NewKey)
    return new.text


def test_rotate_key_keeps_what_was_spent(system: System, name: str) -> None:
    """With half the cap spent, a new credential can spend the other half and no more; the old one is dead at once."""
    system.apply({name: root("0.40")})
    old = system.key(name)
    assert [ask(system, old, dime()).code for _ in range(2)] == ["served"] * 2
    new = rotated(system, old)
    assert (ask(system, old, dime()).code, ask(system, old, dime()).status) == ("capability_revoked", 401)
    assert [ask(system, new, dime()).code for _ in range(4)] == ["served"] * 2 + ["grant_exhausted"] * 2
    assert system.vendor.books().total_nanousd == 4 * DIME
    system.reconcile_with_vendor(name)


def test_rotate_key_keeps_the_limit_of_the_key_itself(system: System, name: str) -> None:
    """A cap that belongs to the key and not to the grant is not refilled by rotating it either, however often."""
    system.apply({name: root("5.00")})
    key = system.key(name, limits=(BlockLimit("usd", 3 * DIME, "month"),))
    for _ in range(3):
        assert ask(system, key, dime()).status == 200
        key = rotated(system, key)
    refused = ask(system, key, dime())
    assert (refused.code, refused.remit["limit"], refused.remit["posted"]) == ("grant_exhausted", 3 * DIME, 3 * DIME)
    assert system.vendor.books().total_nanousd == 3 * DIME
    system.reconcile_with_vendor(name)


def test_two_keys_share_the_cap_of_their_grant(system: System, name: str) -> None:
    """A second key is no second budget."""
    system.apply({name: root("0.40")})
    keys = [system.key(name, f"key {number}") for number in range(4)]
    answers = [ask(system, key, dime()).code for _, key in zip(range(8), itertools.cycle(keys), strict=False)]
    assert answers == ["served"] * 4 + ["grant_exhausted"] * 4
    system.reconcile_with_vendor(name)


@pytest.mark.parametrize("whose", ["grant", "key"])
def test_a_token_and_the_key_that_stands_for_it_are_one(system: System, name: str, whose: str) -> None:
    """Whichever of the two a caller presents, both draw on the same cap, be it the grant's or their own, and end together."""
    system.apply({name: root("0.40" if whose == "grant" else "5.00")})
    limits = (BlockLimit("usd", 4 * DIME, "month"),) if whose == "key" else ()
    made = system.authority.keys().create(name, "both", ADMIN, limits=limits)
    assert isinstance(made, NewKey) and made.token is not None and made.token.startswith("rmt1.")
    both = (made.token, made.text)
    answers = ask_many(24, lambda number: ask(system, both[number % 2], dime()), at_once=12)
    assert codes(answers) == {"served": 4, "grant_exhausted": 20}
    refused = [ask(system, which, dime()).remit for which in both]
    assert [(one["limit"], one["posted"], one["held"]) for one in refused] == [(4 * DIME, 4 * DIME, 0)] * 2
    assert refused[0]["binding_node"] == refused[1]["binding_node"]
    assert len({tuple(entry["block_ids"]) for entry in system.entries(name)}) == 1
    system.authority.keys().revoke(made.key.id, ADMIN)
    ended = [ask(system, which, dime()) for which in both]
    assert [(answer.status, answer.code) for answer in ended] == [(401, "capability_revoked")] * 2
    assert system.vendor.books().total_nanousd == 4 * DIME
    system.reconcile_with_vendor(name)


def test_revoke_key_and_the_next_call_is_refused(system: System, name: str) -> None:
    """A revoked key is refused by the very next call, as the holder of a revoked capability; others go on."""
    system.apply({name: root("5.00")})
    key, other = system.key(name), system.key(name, "other")
    for _ in range(3):
        assert ask(system, key, dime()).status == 200
    system.authority.keys().revoke(key_id(key), ADMIN)
    answer = ask(system, key, dime())
    assert (answer.status, answer.code) == (401, "capability_revoked")
    assert ask(system, other, dime()).status == 200
    assert system.vendor.books().requests == 4


@pytest.mark.parametrize("ancestor", ["", "/team", "/team/bo"])
def test_revoke_now_on_every_level(system: System, name: str, ancestor: str) -> None:
    """Revoking a grant, or any above it, refuses the next call; a call under way is finished and settled."""
    bo = {"owner": "bo@acme.example"}
    system.apply({name: root("5.00", children={"team": {"owner": "cy@acme.example", "children": {"bo": bo}}})})
    key = system.key(f"{name}/team/bo")
    system.vendor.script(completion_tokens=20, pause_after_chunks=3)
    running = open_stream(system, key, dime(20))
    running.recv(1)
    written = system.authority.grants.revoke(f"{name}{ancestor}", by())
    assert isinstance(written, Written)
    answer = ask(system, key, dime())
    assert (answer.status, answer.code) in {(401, "capability_revoked"), (403, "grant_inactive")}
    system.vendor.wait_paused()
    assert system.vendor.release() == 1
    assert b"[DONE]" in read_raw(running).body
    assert system.vendor.books().requests == 1
    assert system.reconcile_with_vendor(name) == []


def test_suspend_and_resume_take_effect_with_the_next_call(system: System, name: str) -> None:
    """A suspended grant refuses the next call and a resumed one serves the next, however fast they follow."""
    system.apply({name: root("5.00")})
    key = system.key(name)
    for _ in range(5):
        system.authority.grants.suspend(name, by())
        assert ask(system, key, dime()).code == "grant_inactive"
        system.authority.grants.resume(name, by())
        assert ask(system, key, dime()).status == 200


def test_raised_and_lowered_limits_take_effect_with_the_next_call(system: System, name: str) -> None:
    """A raised cap admits the next call, a lowered one refuses it, and nothing that was spent is forgotten."""
    system.apply({name: root("0.20")})
    key = system.key(name)
    assert [ask(system, key, dime()).code for _ in range(3)] == ["served", "served", "grant_exhausted"]
    system.apply({name: root("0.40")})
    assert ask(system, key, dime()).status == 200
    system.apply({name: root("0.10")})
    assert ask(system, key, dime()).code == "grant_exhausted"
    system.apply({name: root("0.40")})
    assert [ask(system, key, dime()).code for _ in range(2)] == ["served", "grant_exhausted"]
    assert system.vendor.books().total_nanousd == 4 * DIME
    system.reconcile_with_vendor(name)


MONTH_OF_TWO = (Limit("usd", 2 * DOLLAR, "month"),)
ABOVE_PARENT: dict[str, Callable[[System, str], Answer]] = {
    "create": lambda system, name: system.authority.grants.create(
        NewGrant(path=f"{name}/new", owner="bo@acme.example", limits=MONTH_OF_TWO), by()
    ),
    "create over what siblings leave": lambda system, name: system.authority.grants.create(
        NewGrant(path=f"{name}/new", owner="bo@acme.example", limits=(Limit("usd", DOLLAR, "month"),)), by()
    ),
    "create with a later expiry": lambda system, name: system.authority.grants.create(
        NewGrant(path=f"{name}/new", owner="bo@acme.example", expires_at=datetime(2100, 1, 1, tzinfo=UTC)), by()
    ),
    "edit the limit": lambda system, name: system.authority.grants.change(
        f"{name}/bo", GrantEdit(limits=MONTH_OF_TWO), by()
    ),
    "edit the overdraft": lambda system, name: system.authority.grants.change(
        f"{name}/bo", GrantEdit(overdraft=Overdraft(max_nanousd=DOLLAR)), by()
    ),
    "narrow the parent": lambda system, name: system.authority.grants.change(
        name, GrantEdit(limits=(Limit("usd", 4 * DIME, "month"),)), by()
    ),
    "renew": lambda system, name: system.authority.grants.renew(f"{name}/bo", datetime(2100, 1, 1, tzinfo=UTC), by()),
    "apply": lambda system, name: system.try_apply(
        {name: root("1.00", children={"bo": {"owner": "bo@acme.example", "limits": [{"usd": 2, "per": "month"}]}})}
    ),
    "apply a part of the tree": lambda system, name: system.try_apply(
        {f"{name}/new": {"owner": "bo@acme.example", "limits": [{"usd": "0.51", "per": "month"}]}}
    ),
}


@pytest.mark.parametrize("way", ABOVE_PARENT)
def test_child_over_parent_is_refused_on_every_path(system: System, name: str, way: str) -> None:
    """No way of writing lets children have more than their parent; nothing of a refused write stands."""
    child = {"owner": "bo@acme.example", "limits": [{"usd": "0.50", "per": "month"}]}
    system.apply({name: root("1.00", children={"bo": child})})
    before = system.sql("SELECT body FROM grants WHERE path LIKE %s ORDER BY path", f"{name}%")
    answer = ABOVE_PARENT[way](system, name)
    assert isinstance(answer, NotWritten) and answer.problems, answer
    assert system.sql("SELECT body FROM grants WHERE path LIKE %s ORDER BY path", f"{name}%") == before


@pytest.mark.parametrize(
    ("grant_class", "tags"),
    [
        ("experimentation", {"header": "environment=production"}),
        ("experimentation", {"header": "class=prod"}),
        ("experimentation", {"metadata": {"environment": "Live"}}),
        ("production", {"header": "environment=sandbox"}),
        ("production", {"metadata": {"class": "experiment"}}),
    ],
)
def test_class_mismatch_is_refused_and_reported(
    system: System, name: str, grant_class: str, tags: dict[str, Any]
) -> None:
    """Tags of the other class are refused, nothing is sent, and security hears of it once a day."""
    system.apply({name: root("1.00", **{"class": grant_class})})
    key = system.key(name)
    headers = {"remit-tags": tags["header"]} if "header" in tags else {}
    body = dime(metadata=tags.get("metadata"))
    answers = [ask(system, key, body, headers=headers) for _ in range(3)]
    assert {(answer.status, answer.code) for answer in answers} == {(403, "class_mismatch")}
    assert system.vendor.books().requests == 0
    rows = "SELECT audience, body ->> 'class', body ->> 'tag', body ->> 'request_id' FROM notifications"
    wanted = f"{rows} WHERE kind = 'class_mismatch' AND body ->> 'path' = %s"
    deadline = time.monotonic() + 60
    while not (reports := system.sql(wanted, name)) and time.monotonic() < deadline:
        time.sleep(0.05)
    ((audience, found_class, tag, request_id),) = reports
    assert (audience, found_class) == ("security", grant_class)
    assert tag in {"environment", "class"}
    assert request_id in {answer.headers["x-request-id"] for answer in answers}


@pytest.mark.parametrize("way", ["header", "metadata"])
def test_tag_spoof_is_recorded_and_the_issuer_wins(system: System, name: str, way: str) -> None:
    """A caller who claims another team is booked on the issuer's; what was claimed stands in the entry."""
    system.apply({name: root("1.00", scope={"team": "search"})})
    key = system.key(name, labels={"stage": "canary"})
    claimed = {"team": "finance", "stage": "prod-like", "feature": "answers"}
    if way == "header":
        text = ", ".join(f"{tag}={value}" for tag, value in claimed.items())
        answer = ask(system, key, dime(), headers={"remit-tags": text})
    else:
        answer = ask(system, key, dime(metadata=claimed))
    assert answer.status == 200
    (entry,) = system.entries(name)
    assert entry["tags"] == {"team": "search", "stage": "canary", "feature": "answers"}
    assert entry["tag_conflicts"] == {"team": "finance", "stage": "prod-like"}
    rows, _ = system.authority.ledger.report(["team", "grant"], None, None)
    by_team = {row.group: row.amount_nanousd for row in rows}
    assert by_team["search", name] == DIME
    assert not any(group == ("finance", name) for group in by_team)
    system.reconcile_with_vendor(name)


def test_tags_that_are_required_are_asked_for(system: System, name: str) -> None:
    """Without its required tags a call is refused, with them by header or metadata it is served and booked on them."""
    system.apply({name: root("1.00", required_tags=["feature", "experiment"])})
    key = system.key(name)
    answer = ask(system, key, dime(), headers={"remit-tags": "feature=search"})
    assert (answer.status, answer.code, answer.remit["missing_tags"]) == (400, "tags_missing", ["experiment"])
    assert system.vendor.books().requests == 0
    both = ask(system, key, dime(metadata={"experiment": "e7"}), headers={"remit-tags": "feature=search"})
    assert both.status == 200
    assert system.entries(name)[0]["tags"] == {"feature": "search", "experiment": "e7"}
    assert system.entries(name)[0]["tag_conflicts"] is None
    system.reconcile_with_vendor(name)
