"""Revoke now: one command, every gateway, a bound in time and one in money, on four real gateway processes."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from remit.grants.keys import NewKey
from remit.sdk import attenuate
from tests.conformance.support import DIME, HELLO, ask, ask_many, codes, dime, open_stream, read_raw
from tests.conformance.test_authority import key_id, rotated
from tests.system.harness import ADMIN, System, root

GATEWAYS = 4


@pytest.fixture(scope="module")
def fleet() -> Iterator[System]:
    """A Remit with four gateway processes behind one port."""
    with System(gateway={"workers": GATEWAYS}) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh_vendor(fleet: System) -> None:
    """Empty books at the vendor, nothing scripted."""
    fleet.vendor.release()
    fleet.vendor.wait_idle()
    fleet.vendor.script()
    fleet.vendor.reset()


def remit(system: System, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """One command over the system's settings."""
    return subprocess.run(
        [sys.executable, "-m", "remit", *arguments, "--config", str(system.config)],
        capture_output=True,
        text=True,
        input=stdin,
        timeout=60,
        check=False,
    )


def revoked(system: System, *arguments: str, stdin: str = "") -> dict[str, Any]:
    """What `remit revoke --wait --json` says; it has to end well."""
    done = remit(system, "revoke", *arguments, "--wait", "--json", stdin=stdin)
    assert done.returncode == 0, (done.stdout, done.stderr)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def tree(system: System, name: str) -> str:
    """A grant with a team below and a person below that; a key of the person's."""
    bo = {"owner": "bo@acme.example"}
    system.apply({name: root("50.00", children={"team": {"owner": "cy@acme.example", "children": {"bo": bo}}})})
    return system.key(f"{name}/team/bo")


def log_of(system: System, event: str, path: str) -> list[dict[str, Any]]:
    """The log lines of one kind about a grant."""
    lines = (json.loads(line) for line in system.log.read_text().splitlines() if line.startswith("{"))
    return [line for line in lines if line.get("event") == event and line.get("path") == path]


@pytest.mark.parametrize("cut", [False, True])
def test_revoke_now_with_streams_under_way(fleet: System, name: str, cut: bool) -> None:
    """Under load from all sides an ancestor is revoked: nothing is admitted after the bound, and the rest stays within its sum.

    Streams under way end at once with --cut and finish without it, and the books are the vendor's.
    """
    key = tree(fleet, name)
    fleet.vendor.script(completion_tokens=20, pause_after_chunks=3)
    streams = [open_stream(fleet, key, dime(20)) for _ in range(6)]
    for stream in streams:
        stream.recv(1)
    assert fleet.open_holds() == 6
    stop, answers = threading.Event(), []

    def load() -> None:
        while not stop.is_set():
            sent_at = time.monotonic()
            answers.append((sent_at, ask(fleet, key, {"model": "unknown", "messages": HELLO}).code))

    callers = [threading.Thread(target=load) for _ in range(4)]
    for caller in callers:
        caller.start()
    said = revoked(fleet, name, *(["--cut"] if cut else []))
    known_at = time.monotonic()
    time.sleep(0.3)
    stop.set()
    for caller in callers:
        caller.join()
    assert (said["gateways"], said["gateways_that_know"], said["gateways_late"]) == (GATEWAYS, GATEWAYS, [])
    assert said["left_before_nanousd"] == 500 * DIME - 6 * 20 * DIME
    assert (said["calls_before"], said["held_before_nanousd"]) == (6, 6 * 20 * DIME)
    assert said["at_most_nanousd"] <= 6 * 20 * DIME
    late = {code for sent_at, code in answers if sent_at > known_at}
    assert late and late <= {"capability_revoked", "grant_inactive"}
    assert codes(ask_many(20, lambda _: ask(fleet, key, dime()))).keys() <= {"capability_revoked", "grant_inactive"}
    if not cut:
        fleet.vendor.release()
    ends = [read_raw(stream).body for stream in streams]
    assert [b"[DONE]" in end for end in ends] == [not cut] * 6
    fleet.vendor.release()
    fleet.wait_until_no_hold_is_open()
    assert len(log_of(fleet, "call_cut", f"{name}/team/bo")) == (6 if cut else 0)
    fleet.vendor.wait_idle()
    assert fleet.vendor.books().requests == 6
    assert fleet.vendor.books().total_nanousd <= 6 * 20 * DIME
    fleet.reconcile_with_vendor(name)


def test_revoke_now_while_agents_spend(fleet: System, name: str) -> None:
    """What twelve callers with six agents' capabilities still spend once the command is back was under way, and within its bound."""
    tree(fleet, name)
    made = fleet.authority.keys().create(f"{name}/team", "both", ADMIN)
    assert isinstance(made, NewKey) and made.token is not None
    agents = [attenuate(made.token, usd="10").token for _ in range(6)]
    fleet.vendor.script(latency_ms=400, latency_max_ms=1500)
    stop, answers = threading.Event(), []

    def load(agent: str) -> None:
        while not stop.is_set():
            sent_at = time.monotonic()
            answers.append((sent_at, ask(fleet, agent, dime()).code))

    callers = [threading.Thread(target=load, args=(agent,)) for agent in agents * 2]
    for caller in callers:
        caller.start()
    time.sleep(2)
    said = revoked(fleet, name)
    told_at = time.monotonic()
    ((instant,),) = fleet.sql("SELECT clock_timestamp()")
    time.sleep(0.5)
    stop.set()
    for caller in callers:
        caller.join()
    assert "served" in {code for sent_at, code in answers if sent_at < told_at}
    assert {code for sent_at, code in answers if sent_at > told_at} == {"grant_inactive"}
    fleet.wait_until_no_hold_is_open()
    assert fleet.sql("SELECT count(*) FROM holds WHERE taken_at >= %s", instant) == [(0,)]
    spent = "SELECT coalesce(sum(amount_nanousd), 0)::bigint FROM entries WHERE grant_path = %s AND recorded_at >= %s"
    ((after,),) = fleet.sql(spent, f"{name}/team", instant)
    assert 0 < after <= said["at_most_nanousd"] <= 12 * DIME
    fleet.vendor.wait_idle()
    fleet.reconcile_with_vendor(name)


@pytest.mark.parametrize("what", ["revoke", "grant", "key"])
def test_streams_that_were_left_to_finish_are_cut_afterwards(fleet: System, name: str, what: str) -> None:
    """Whichever command revoked, `remit revoke --cut` ends what still runs and exits 0; once that was done it is refused."""
    key = tree(fleet, name)
    fleet.vendor.script(completion_tokens=20, pause_after_chunks=3)
    streams = [open_stream(fleet, key, dime(20)) for _ in range(4)]
    for stream in streams:
        stream.recv(1)
    subject = key_id(key) if what == "key" else name
    first = remit(fleet, *(["revoke"] if what == "revoke" else [what, "revoke"]), subject, "--reason", "leaked")
    assert first.returncode == 0, first.stderr
    kind = "key" if what == "key" else "grant"
    recorded = fleet.sql(
        "SELECT kind, cut_streams, reason FROM revocations JOIN grants g ON g.id = grant_id WHERE g.path IN (%s, %s)",
        name,
        f"{name}/team/bo",
    )
    assert recorded == [(kind, False, "leaked")]
    time.sleep(0.3)
    assert fleet.open_holds() == 4
    said = revoked(fleet, subject, "--cut")
    assert (said["calls_before"], said["left_before_nanousd"], said["gateways_late"]) == (4, 0, [])
    assert [b"[DONE]" in read_raw(stream).body for stream in streams] == [False] * 4
    again = remit(fleet, "revoke", subject, "--cut")
    assert again.returncode == 1 and "already_revoked" in again.stderr
    fleet.vendor.release()
    fleet.wait_until_no_hold_is_open()
    assert len(log_of(fleet, "call_cut", f"{name}/team/bo")) == 4


def test_a_call_that_was_not_answered_yet_is_refused_when_it_is_cut(fleet: System, name: str) -> None:
    """A caller who waits for a whole answer is told that it was revoked, and what is booked."""
    key = tree(fleet, name)
    fleet.vendor.script(completion_tokens=20, latency_ms=4000)
    got: list[Any] = []
    caller = threading.Thread(target=lambda: got.append(ask(fleet, key, dime(20))))
    caller.start()
    while not fleet.open_holds():
        time.sleep(0.01)
    time.sleep(0.2)
    said = revoked(fleet, f"key:{key_id(key)}", "--cut")
    caller.join(timeout=10)
    (answer,) = got
    assert (answer.status, answer.code) == (401, "capability_revoked")
    assert answer.headers["remit-cost-nanousd"] == str(20 * DIME)
    assert said["held_before_nanousd"] == 20 * DIME
    fleet.vendor.wait_idle()
    assert len(fleet.reconcile_with_vendor(name)) == 1


def test_a_capability_that_every_gateway_has_verified_is_refused(fleet: System, name: str) -> None:
    """What a gateway remembers of a capability does not outlive its revocation, given as text on standard input."""
    fleet.apply({name: root("5.00")})
    made = fleet.authority.keys().create(name, "both", ADMIN)
    assert isinstance(made, NewKey) and made.token is not None
    token = made.token
    assert codes(ask_many(24, lambda _: ask(fleet, token, dime()))) == {"served": 24}
    refused = remit(fleet, "revoke", token)
    assert refused.returncode == 2 and token not in refused.stderr and "standard input" in refused.stderr
    said = revoked(fleet, "-", stdin=f"{token}\n")
    assert (said["kind"], said["grant"], said["left_before_nanousd"]) == ("block", name, 26 * DIME)
    answers = ask_many(24, lambda number: ask(fleet, (token, made.text)[number % 2], dime()))
    assert codes(answers) == {"capability_revoked": 24}
    again = remit(fleet, "revoke", said["subject"])
    assert again.returncode == 1 and "already_revoked" in again.stderr


def test_a_block_that_is_cut_takes_what_was_made_from_it_and_nothing_else(fleet: System, name: str) -> None:
    """Streams of a revoked agent and its helper break; those of its parent and its sibling run to their end."""
    fleet.apply({name: root("50.00")})
    made = fleet.authority.keys().create(name, "both", ADMIN)
    assert isinstance(made, NewKey) and made.token is not None
    bad, good = attenuate(made.token, usd="10"), attenuate(made.token, usd="10")
    tokens = [bad.token, attenuate(bad, usd="5").token, good.token, made.token, made.text]
    fleet.vendor.script(completion_tokens=20, pause_after_chunks=3)
    streams = [open_stream(fleet, token, dime(20)) for token in tokens]
    for stream in streams:
        stream.recv(1)
    said = revoked(fleet, bad.id, "--cut")
    assert (said["calls_before"], said["held_before_nanousd"]) == (2, 2 * 20 * DIME)
    deadline = time.monotonic() + 10
    while len(log_of(fleet, "call_cut", name)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    fleet.vendor.release()
    assert [b"[DONE]" in read_raw(stream).body for stream in streams] == [False, False, True, True, True]
    fleet.wait_until_no_hold_is_open()
    fleet.vendor.wait_idle()
    fleet.reconcile_with_vendor(name)


def test_a_revoked_child_makes_room_for_another(fleet: System, name: str) -> None:
    """Living children are counted over all gateways at once, and one that was revoked is none of them."""
    fleet.apply({name: root("50.00")})
    made = fleet.authority.keys().create(name, "both", ADMIN)
    assert isinstance(made, NewKey) and made.token is not None
    parent = attenuate(made.token, usd="40", max_children=3)
    children = [attenuate(parent, usd="1") for _ in range(24)]
    answers = ask_many(24, lambda number: ask(fleet, children[number].token, dime()))
    assert codes(answers) == {"served": 3, "policy_forbidden": 21}
    lives = [child for child, answer in zip(children, answers, strict=True) if answer.code == "served"]
    revoked(fleet, lives[0].id)
    later = attenuate(parent, usd="1")
    assert [ask(fleet, one.token, dime()).code for one in (lives[0], later, attenuate(parent))] == [
        "capability_revoked",
        "served",
        "policy_forbidden",
    ]


def test_revoking_a_key_that_was_rotated(fleet: System, name: str) -> None:
    """The capability lives on in the rotated key and dies with it, also for whoever holds its text."""
    fleet.apply({name: root("5.00")})
    made = fleet.authority.keys().create(name, "both", ADMIN)
    assert isinstance(made, NewKey) and made.token is not None
    token, new = made.token, rotated(fleet, made.text)
    assert [ask(fleet, which, dime()).code for which in (made.text, token, new)] == [
        "capability_revoked",
        "served",
        "served",
    ]
    revoked(fleet, key_id(new))
    assert codes(ask_many(12, lambda number: ask(fleet, (token, new)[number % 2], dime()))) == {
        "capability_revoked": 12
    }


def test_an_issuer_key_is_rotated_and_the_old_one_revoked(fleet: System, name: str) -> None:
    """New capabilities are signed by the new key without a restart; the old key's are good until it is revoked."""
    fleet.apply({name: root("5.00")})
    old = fleet.key(name)
    (before,) = [one for one in fleet.authority.key_store.issuers() if one["status"] == "signing"]
    premature = remit(fleet, "revoke", before["kid"])
    assert premature.returncode == 1 and "rotate first" in premature.stderr
    done = remit(fleet, "issuer", "rotate", "--json")
    assert done.returncode == 0, done.stderr
    kid = json.loads(done.stdout)["kid"]
    file = fleet.settings.data_dir / "issuer.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert {one["kid"]: one["status"] for one in fleet.authority.key_store.issuers()} == {
        before["kid"]: "verify_only",
        kid: "signing",
    }
    new = fleet.key(name)
    assert {ask(fleet, key, dime()).code for key in (old, new)} == {"served"}
    revoked(fleet, f"issuer:{before['kid']}")
    shown = json.loads(remit(fleet, "token", "tree", name, "--json").stdout)
    assert sorted((one["revoked"], one["left_nanousd"]) for one in shown) == [(False, 48 * DIME), (True, 0)]
    answers = ask_many(16, lambda number: ask(fleet, (old, new)[number % 2], dime()))
    assert codes(answers) == {"capability_revoked": 8, "served": 8}


def test_a_cut_off_ends_what_an_issuer_key_had_signed(fleet: System, name: str) -> None:
    """Capabilities from before the cut-off are refused, later ones are not, and the cut-off never moves back."""
    # Needs `verify` to answer the code `revoked`; without it the last of the answers below is `capability_invalid`.
    fleet.apply({name: root("5.00")})
    old = fleet.key(name)
    assert ask(fleet, old, dime()).code == "served"
    (kid,) = [one["kid"] for one in fleet.authority.key_store.issuers() if one["status"] == "signing"]
    time.sleep(2.1)
    instant = f"{fleet.authority.clock.now():%Y-%m-%dT%H:%M:%SZ}"
    time.sleep(1)
    new = fleet.key(name)
    revoked(fleet, kid, "--issued-before", instant)
    back = remit(fleet, "revoke", kid, "--issued-before", "2026-01-01")
    assert back.returncode == 1 and "already_revoked" in back.stderr
    answers = ask_many(16, lambda number: ask(fleet, (old, new)[number % 2], dime()))
    assert sorted({(answer.status, answer.code) for answer in answers}) == [
        (200, "served"),
        (401, "capability_revoked"),
    ]


def test_a_word_that_names_two_things_is_asked_about(fleet: System) -> None:
    """A grant that is called as a key is says so, and a prefix decides; what names nothing is a usage error. No secret is kept or shown."""
    other = f"anyone{os.urandom(2).hex()}"
    fleet.apply({other: root("5.00")})
    twin = key_id(fleet.key(other))
    if twin[0].isalpha():
        fleet.apply({twin: root("5.00")})
        asked = remit(fleet, "revoke", twin)
        assert asked.returncode == 1 and f"key:{twin}" in asked.stderr and f"grant:{twin}" in asked.stderr
    dry = remit(fleet, "revoke", f"key:{twin}", "--dry-run")
    assert dry.returncode == 0 and "nothing was written" in dry.stdout
    secret = fleet.key(other)
    known = remit(fleet, "revoke", secret, "--idempotency-key", f"{other}-secret")
    assert known.returncode == 0 and key_id(secret) in known.stdout
    lost = remit(fleet, "revoke", f"rk_{'0' * 12}_{secret[16:]}")
    assert lost.returncode == 2 and secret[16:] not in lost.stderr + known.stdout
    assert not fleet.sql("SELECT 1 FROM answers WHERE body::text LIKE %s", f"%{secret[16:]}%")
    for word in ("nobody", "0" * 64, "0" * 24, "grant:0"):
        assert remit(fleet, "revoke", word).returncode == 2, word
    assert "standard input" in remit(fleet, "revoke", "0" * 64).stderr


def test_a_gateway_that_hangs_is_named_and_one_that_died_is_not_waited_for(name: str) -> None:
    """While a gateway hangs the wait ends in time and says which; one that has been silent too long is only named."""
    with System(gateway={"workers": 2}) as system:
        tree(system, name)
        keys = [system.key(f"{name}/team/bo", f"key {number}") for number in range(3)]
        assert revoked(system, key_id(keys[0]))["gateways_that_know"] == 2
        hung = system.gateway_pids()[0]
        os.kill(hung, signal.SIGSTOP)
        try:
            late = remit(system, "revoke", key_id(keys[1]), "--wait", "--timeout", "500ms", "--json")
            assert late.returncode == 1, late.stderr
            (which,) = json.loads(late.stdout)["gateways_late"]
            assert which.endswith(f"process {hung}")
            time.sleep(16)
            started = time.monotonic()
            said = remit(system, "revoke", key_id(keys[2]), "--wait")
            assert said.returncode == 0 and "1 of 1 gateway knows" in said.stdout
            assert "not seen since" in said.stdout and time.monotonic() - started < 8
        finally:
            psutil.Process(hung).send_signal(signal.SIGCONT)
        deadline = time.monotonic() + 10
        while len({row[0] for row in system.sql("SELECT acknowledged_revision FROM gateways")}) != 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        system.stop()
        assert system.sql("SELECT count(*) FROM gateways") == [(0,)]
