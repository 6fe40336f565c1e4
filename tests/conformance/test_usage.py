"""What the vendor states is what is booked: zero is zero, each token once, the tier that served, absent is not zero."""

import pytest

from tests.conformance.support import DIME, HELLO, ask, dime, events, open_stream, read_raw, user
from tests.system.harness import System, root


def usage_of(system: System, name: str) -> tuple[dict[str, int], dict[str, int]]:
    """The token counts and the amounts by kind of a grant's only entry."""
    (entry,) = system.entries(name)
    assert (entry["kind"], entry["usage_source"]) == ("usage", "vendor")
    amounts = {line["kind"]: line["amount_nanousd"] for line in entry["price_lines"]}
    assert sum(amounts.values()) == entry["amount_nanousd"]
    return {kind: count for kind, count in entry["usage"].items() if count}, amounts


@pytest.mark.parametrize("stream", [False, True])
def test_usage_zero_is_zero(system: System, name: str, stream: bool) -> None:
    """A vendor that states zero output is booked with zero output, not with the ceiling."""
    system.apply({name: root("1.00")})
    system.vendor.script(usage="zero_output", completion_tokens=3)
    answer = read_raw(open_stream(system, system.key(name), dime(5, stream=stream)))
    assert answer.status == 200
    system.wait_until_no_hold_is_open()
    (entry,) = system.entries(name)
    assert (entry["kind"], entry["amount_nanousd"], entry["usage"]["output_tokens"]) == ("usage", 0, 0)
    assert system.vendor.books().total_nanousd == 0
    assert system.vendor.books().rows == 1
    system.reconcile_with_vendor(name)


@pytest.mark.parametrize("stream", [False, True])
def test_cached_tokens_are_priced_once(system: System, name: str, stream: bool) -> None:
    """Of 600 prompt tokens 200 came from the cache: 400 at the input price, 200 at the cache's, none at both."""
    system.apply({name: root("1.00")})
    text = "sim: prompt_tokens=600 cached_tokens=200 completion_tokens=10 reasoning_tokens=4\n" + "x" * 600
    body = {"model": "sim-small", "messages": user(text), "max_tokens": 10, "stream": stream}
    assert read_raw(open_stream(system, system.key(name), body)).status == 200
    system.wait_until_no_hold_is_open()
    counts, amounts = usage_of(system, name)
    assert counts == {"input_tokens": 400, "cache_read_tokens": 200, "output_tokens": 10}
    assert amounts == {"input": 400 * 100, "cache_read": 200 * 50, "output": 10 * 400}
    assert system.vendor.books().total_nanousd == sum(amounts.values())
    system.reconcile_with_vendor(name)


def test_cached_and_written_tokens_are_priced_once(system: System, name: str) -> None:
    """Read from the cache, written to it and neither: each token in one kind."""
    system.apply({name: root("1.00")})
    text = "sim: prompt_tokens=1000 cached_tokens=300 cache_write_tokens=500\n" + "x" * 1000
    ask(system, system.key(name), {"model": "sim-cache-write", "messages": user(text), "max_tokens": 2})
    counts, amounts = usage_of(system, name)
    assert counts == {"input_tokens": 200, "cache_read_tokens": 300, "cache_write_tokens": 500, "output_tokens": 2}
    assert amounts == {"input": 800_000, "cache_read": 120_000, "cache_write": 2_500_000, "output": 40_000}
    system.reconcile_with_vendor(name)


@pytest.mark.parametrize(
    ("asked", "served", "price"),
    [
        ("priority", "default", 400),
        ("priority", None, 800),
        ("default", None, 400),
        ("flex", "default", 400),
        ("flex", None, 200),
        (None, None, 400),
        ("auto", None, 400),
    ],
)
def test_served_tier_is_what_is_priced(
    system: System, name: str, asked: str | None, served: str | None, price: int
) -> None:
    """Priority asked and default served is the default price; the hold covers the dearer of the two."""
    system.apply({name: root("1.00")})
    system.vendor.script(**({"served_tier": served} if served else {}))
    body = {"model": "sim-small", "messages": HELLO, "max_tokens": 10}
    answer = ask(system, system.key(name), body | ({"service_tier": asked} if asked else {}))
    assert answer.status == 200
    (entry,) = system.entries(name)
    (line,) = (line for line in entry["price_lines"] if line["kind"] == "output")
    assert line["amount_nanousd"] == 10 * price
    assert entry["tier"] == (served or {"auto": "default", None: "default"}.get(asked, asked))
    system.reconcile_with_vendor(name)


def test_served_model_is_what_is_priced(system: System, name: str) -> None:
    """Another model than the one asked for is priced as what it is, and the entry names both."""
    system.apply({name: root("1.00")})
    system.vendor.script(served_model="sim-small")
    answer = ask(system, system.key(name), dime(3))
    (entry,) = system.entries(name)
    assert (entry["model_requested"], entry["model_served"]) == ("sim-dime", "sim-small")
    assert int(answer.headers["remit-cost-nanousd"]) == entry["amount_nanousd"] < DIME
    system.reconcile_with_vendor(name)


@pytest.mark.parametrize("usage", ["absent", "null"])
@pytest.mark.parametrize("stream", [False, True])
def test_stream_usage_absent_is_booked_at_the_ceiling(system: System, name: str, usage: str, stream: bool) -> None:
    """An answer without usage is booked at its ceiling, never at 0, until the vendor's statement corrects it."""
    system.apply({name: root("1.00")})
    system.vendor.script(usage=usage, completion_tokens=2)
    answer = read_raw(open_stream(system, system.key(name), dime(5, stream=stream)))
    assert answer.status == 200
    if stream:
        assert events(answer)[-1] == "[DONE]"
        assert answer.trailers["remit-cost-nanousd"] == str(5 * DIME)
    system.wait_until_no_hold_is_open()
    (entry,) = system.entries(name)
    assert (entry["kind"], entry["usage_source"], entry["amount_nanousd"]) == ("suspense", "estimated", 5 * DIME)
    assert len(system.reconcile_with_vendor(name)) == 1
    correction = system.entries(name)[-1]
    assert (correction["kind"], correction["amount_nanousd"]) == ("correction", -3 * DIME)
    assert system.spent(name) == 2 * DIME == system.vendor.books().total_nanousd


def test_stream_usage_absent_keeps_the_cap_until_evidence(system: System, name: str) -> None:
    """What is in suspense is spoken for; evidence frees exactly what the call did not cost, once."""
    system.apply({name: root("0.50")})
    key = system.key(name)
    system.vendor.script(usage="absent", completion_tokens=1)
    assert ask(system, key, dime(5)).status == 200
    assert ask(system, key, dime(1)).code == "grant_exhausted"
    (hold_id,) = system.reconcile_with_vendor(name)
    again = {"hold_id": hold_id, "usd": 0, "tokens": 0, "entry": {"usage_source": "vendor"}}
    assert system.authority.care.apply_evidence([again]) == ["already_settled"]
    system.vendor.script(completion_tokens=1)
    answers = [ask(system, key, dime(1)).code for _ in range(5)]
    assert answers == ["served"] * 4 + ["grant_exhausted"]
    assert system.vendor.books().total_nanousd == 5 * DIME
    system.reconcile_with_vendor(name)
