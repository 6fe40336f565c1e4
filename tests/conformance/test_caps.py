"""Hard caps, judged on the vendor's books: cap-exact, cap-exact-fleet, parent-binds, zero, no cap, boundary."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from remit.kernel.money import parse_usd
from tests.conformance.support import DIME, DOLLAR, HELLO, ask, ask_many, codes, dime
from tests.system.harness import System, root

MANY = 200


def test_cap_exact_holds_against_two_hundred_calls_at_once(system: System, name: str) -> None:
    """With $1.00 and calls of $0.10, the vendor's books end at exactly $1.00, never above."""
    system.apply({name: root("1.00")})
    key = system.key(name)

    async def calls() -> list[object]:
        async with system.async_client(key) as client:
            create = client.chat.completions.create
            wanted = (create(model="sim-dime", messages=HELLO, max_tokens=1) for _ in range(MANY))
            return await asyncio.gather(*wanted, return_exceptions=True)

    answers = asyncio.run(calls())
    refused = [answer for answer in answers if isinstance(answer, openai.APIStatusError)]
    assert len(refused) == MANY - 10
    assert {error.code for error in refused} == {"grant_exhausted"}
    assert system.vendor.books().total_nanousd == DOLLAR
    system.reconcile_with_vendor(name)


def test_cap_exact_holds_while_calls_are_slow(system: System, name: str) -> None:
    """What running calls may cost is spoken for: while ten are under way the eleventh is refused."""
    system.apply({name: root("1.00")})
    key = system.key(name)
    system.vendor.script(latency_ms=600_000)
    with ThreadPoolExecutor(40) as pool:
        calls = [pool.submit(ask, system, key, dime()) for _ in range(40)]
        system.vendor.wait_paused(10)
        while sum(call.done() for call in calls) < 30:
            time.sleep(0.01)
        assert system.vendor.release() == 10
    answers = [call.result() for call in calls]
    assert codes(answers) == {"served": 10, "grant_exhausted": 30}
    refused = [answer.remit for answer in answers if answer.status != 200]
    assert {(one["posted"], one["held"], one["required"], one["limit"]) for one in refused} == {
        (0, DOLLAR, DIME, DOLLAR)
    }
    assert system.vendor.books().total_nanousd == DOLLAR
    system.reconcile_with_vendor(name)


def test_cap_exact_gives_back_what_a_call_did_not_use(system: System, name: str) -> None:
    """A hold is a bound: what the call did not cost can be spent by the next, so the cap is filled to the last dime."""
    system.apply({name: root("1.00")})
    key = system.key(name)
    system.vendor.script(completion_tokens=1)
    answers = [ask(system, key, dime(tokens)) for tokens in (10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1)]
    assert codes(answers) == {"served": 10, "grant_exhausted": 1}
    assert system.vendor.books().total_nanousd == DOLLAR
    system.reconcile_with_vendor(name)


@pytest.mark.parametrize("model", ["sim-fractional", "sim-small", "gpt-4o-mini"])
def test_cap_exact_with_small_prices_never_exceeds_the_cap(system: System, name: str, model: str) -> None:
    """Fractions of a nano-dollar and odd token counts leave both books equal and the cap unbroken."""
    limit = "0.000003" if model == "sim-fractional" else "0.0005"
    system.apply({name: root(limit)})
    key = system.key(name)
    system.vendor.script(completion_tokens=37)
    body = {"model": model, "messages": HELLO, "max_tokens": 61}
    answers = ask_many(60, lambda _: ask(system, key, body), at_once=20)
    assert codes(answers).keys() <= {"served", "grant_exhausted"}
    books = system.vendor.books()
    assert 0 < books.total_nanousd <= parse_usd(limit)
    system.reconcile_with_vendor(name)


def test_cap_exact_fleet_of_two_gateways_shares_one_cap() -> None:
    """Two gateways with two workers each on one database: 200 calls spread over them spend exactly $1.00."""
    with System(gateway={"workers": 2}) as first:
        shared = {"REMIT_DATABASE_URL": first.url}
        with System(gateway={"workers": 2}, environment=shared, vendor=first.vendor) as second:
            first.apply({"fleet": root("1.00")})
            key = first.key("fleet")
            assert len(first.gateway_pids()) == len(second.gateway_pids()) == 2
            ports = (first.port, second.port)
            answers = ask_many(MANY, lambda n: ask(first, key, dime(), port=ports[n % 2]))
            assert codes(answers) == {"served": 10, "grant_exhausted": MANY - 10}
            assert first.vendor.books().total_nanousd == DOLLAR
            first.reconcile_with_vendor("fleet")


def test_parent_binds_both_children(system: System, name: str) -> None:
    """A team of $1.00 over two people of $0.80 each: together at most $1.00, each at most $0.80."""
    people = {
        who: {"owner": f"{who}@acme.example", "limits": [{"usd": "0.80", "per": "month"}]} for who in ("bo", "cy")
    }
    system.apply({name: root("1.00", delegation={"overcommit_percent": 60}, children=people)})
    keys = [system.key(f"{name}/{who}") for who in people]
    answers = ask_many(60, lambda n: ask(system, keys[n % 2], dime()), at_once=30)
    answers += [ask(system, key, dime()) for key in keys]
    assert codes(answers)["served"] == 10
    assert system.vendor.books().total_nanousd == DOLLAR == system.spent(name)
    assert all(system.spent(f"{name}/{who}") <= 8 * DIME for who in people)
    assert all(answer.remit["binding_node"] == name for answer in answers[-2:])
    system.reconcile_with_vendor(name)


def test_child_binds_below_a_parent_with_room(system: System, name: str) -> None:
    """A person's $0.20 below a team of $10 admits two calls, and the refusal names the person's grant."""
    child = {"owner": "bo@acme.example", "limits": [{"usd": "0.20", "per": "month"}]}
    system.apply({name: root("10.00", children={"bo": child})})
    key = system.key(f"{name}/bo")
    answers = [ask(system, key, dime()) for _ in range(4)]
    assert [answer.code for answer in answers] == ["served", "served", "grant_exhausted", "grant_exhausted"]
    assert (answers[-1].remit["binding_node"], answers[-1].remit["owner"]) == (f"{name}/bo", "bo@acme.example")
    assert system.vendor.books().total_nanousd == 2 * DIME
    system.reconcile_with_vendor(name)


@pytest.mark.parametrize("model", ["sim-dime", "gpt-4o-mini"])
def test_zero_is_nothing(system: System, name: str, model: str) -> None:
    """A cap of 0 admits nothing, and nothing is sent."""
    system.apply({name: root("0")})
    answer = ask(system, system.key(name), {"model": model, "messages": HELLO, "max_tokens": 1})
    assert (answer.status, answer.code, answer.remit["limit"]) == (402, "grant_exhausted", 0)
    assert system.vendor.books().requests == 0
    assert system.spent(name) == 0


@pytest.mark.parametrize("dimension", ["tokens", "requests"])
def test_zero_is_nothing_in_every_dimension(system: System, name: str, dimension: str) -> None:
    """A limit of 0 tokens or 0 requests admits nothing either."""
    system.apply({name: root(limits=[{dimension: 0, "per": "day"}])})
    assert ask(system, system.key(name), dime()).code == "grant_exhausted"
    assert system.vendor.books().requests == 0


def test_no_cap_is_no_cap(system: System, name: str) -> None:
    """Without a limit anywhere on the path everything is served, and still booked."""
    system.apply({name: root(children={"free": {"owner": "bo@acme.example"}})})
    key = system.key(f"{name}/free")
    answers = ask_many(30, lambda _: ask(system, key, dime(50)), at_once=15)
    assert codes(answers) == {"served": 30}
    assert all("remit-remaining-nanousd" not in answer.headers for answer in answers)
    assert system.vendor.books().total_nanousd == 30 * 50 * DIME == system.spent(name)
    system.reconcile_with_vendor(name)


@pytest.mark.parametrize(
    ("limit", "calls"),
    [
        ({"usd": "0.30", "per": "month"}, 3),
        ({"usd": "0.300000001", "per": "month"}, 3),
        ({"usd": "0.299999999", "per": "month"}, 2),
        ({"requests": 3, "per": "day"}, 3),
        ({"usd": "0.30", "per": "once"}, 3),
    ],
)
def test_boundary(system: System, name: str, limit: dict[str, object], calls: int) -> None:
    """A cap of exactly n calls serves n; a nano-dollar less serves n - 1, a nano-dollar more does not serve n + 1."""
    system.apply({name: root(limits=[limit])})
    key = system.key(name)
    answers = [ask(system, key, dime()) for _ in range(calls + 2)]
    assert codes(answers) == {"served": calls, "grant_exhausted": 2}
    assert [answer.status == 200 for answer in answers] == [True] * calls + [False, False]
    assert system.vendor.books().total_nanousd == calls * DIME
    system.reconcile_with_vendor(name)


def test_boundary_in_tokens(system: System, name: str) -> None:
    """A limit in tokens is filled by what the vendor counted, and no call is admitted whose bound exceeds the rest."""
    system.apply({name: root(limits=[{"tokens": 400, "per": "day"}])})
    key = system.key(name)
    answers = [ask(system, key, dime(50)) for _ in range(20)]
    served = [answer for answer in answers if answer.status == 200]
    counted = sum(answer.json["usage"]["total_tokens"] for answer in served)
    refused = answers[len(served)].remit
    assert (refused["dimension"], refused["limit"], refused["posted"]) == ("tokens", 400, counted)
    assert counted <= 400 < counted + refused["required"]
    system.reconcile_with_vendor(name)
