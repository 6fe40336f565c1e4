"""What a call can cost at most is known before it is sent: prices, context tiers, output bounds, choices, caches."""

from tests.conformance.support import DIME, HELLO, ask, dime, user
from tests.system.harness import System, root

LONG_TOKENS = 250_000


def test_unpriced_is_refused_and_nothing_is_sent(system: System, name: str) -> None:
    """A model the vendor sells but nobody has a price for is refused, with and without a cap."""
    system.apply({name: root("5.00"), f"{name}-free": root()})
    for path in (name, f"{name}-free"):
        answer = ask(system, system.key(path), {"model": "sim-large", "messages": HELLO, "max_tokens": 1})
        assert (answer.status, answer.code, answer.remit["transient"]) == (403, "unpriced", False)
        assert answer.headers["x-should-retry"] == "false"
    assert system.vendor.books().requests == 0


def test_unpriced_when_served_is_in_suspense_until_the_statement_says(system: System, name: str) -> None:
    """A vendor that serves another, unpriced model is booked at the ceiling, never at 0, until its statement comes."""
    system.apply({name: root("5.00")})
    system.vendor.script(served_model="sim-large", completion_tokens=3)
    answer = ask(system, system.key(name), dime(4))
    assert (answer.status, answer.headers["remit-cost-nanousd"]) == (200, str(4 * DIME))
    (entry,) = system.entries(name)
    assert (entry["kind"], entry["usage_source"], entry["amount_nanousd"]) == ("suspense", "estimated", 4 * DIME)
    assert "sim-large" in entry["note"]
    assert len(system.reconcile_with_vendor(name)) == 1


def long_call(**script: int) -> dict[str, object]:
    """A call of about a token per byte: the cheapest bound of its text is nearly what the vendor counts."""
    line = " ".join(f"{key}={value}" for key, value in script.items())
    text = f"sim: {line}\n"
    return {"model": "sim-tiered", "messages": user(text + "x" * (LONG_TOKENS - len(text))), "max_tokens": 1}


def test_long_context_tier_is_in_the_ceiling(system: System, name: str) -> None:
    """250k tokens with room for the cheap tier only are refused before sending; with room for both, both books agree."""
    system.apply({name: root("0.40")})
    answer = ask(system, system.key(name), long_call(prompt_tokens=LONG_TOKENS))
    assert (answer.status, answer.code) == (402, "grant_exhausted")
    assert answer.remit["required"] > LONG_TOKENS * 2_500
    assert system.vendor.books().requests == 0
    system.apply({f"{name}-more": root("0.65")})
    served = ask(system, system.key(f"{name}-more"), long_call(prompt_tokens=LONG_TOKENS))
    assert served.headers["remit-cost-nanousd"] == str(2 * LONG_TOKENS * 1_000 + 8_000)
    assert system.vendor.books().total_nanousd == 2 * LONG_TOKENS * 1_000 + 8_000
    system.reconcile_with_vendor(f"{name}-more")


def test_long_context_tier_is_left_when_the_vendor_counts_less(system: System, name: str) -> None:
    """A call held at the dear tier whose counted tokens stay below the threshold is settled at the cheap one."""
    system.apply({name: root("0.65")})
    served = ask(system, system.key(name), long_call(prompt_tokens=200_000))
    assert served.headers["remit-cost-nanousd"] == str(200_000 * 1_000 + 4_000)
    system.reconcile_with_vendor(name)


def test_cache_write_premium_is_in_the_ceiling(system: System, name: str) -> None:
    """100k tokens at 1.0 times the input price would fit, written to the cache at 1.25 times they do not: refused."""
    text = "sim: prompt_tokens=100000 cache_write_tokens=100000\n"
    body = {"model": "sim-cache-write", "messages": user(text + "x" * (100_000 - len(text))), "max_tokens": 1}
    system.apply({name: root("0.45"), f"{name}-more": root("0.51")})
    refused = ask(system, system.key(name), body)
    assert (refused.code, system.vendor.books().requests) == ("grant_exhausted", 0)
    served = ask(system, system.key(f"{name}-more"), body)
    assert served.headers["remit-cost-nanousd"] == str(100_000 * 5_000 + 20_000)
    (entry,) = system.entries(f"{name}-more")
    assert (entry["usage"]["cache_write_tokens"], entry["usage"]["input_tokens"]) == (100_000, 0)
    system.reconcile_with_vendor(f"{name}-more")


def test_no_max_tokens_sends_the_bound_of_the_shape(system: System, name: str) -> None:
    """A caller who states no output bound gets the grant's: it is sent, held, and the vendor stops there."""
    system.apply({name: root("1.00", shape={"max_output_tokens": 7})})
    answer = ask(system, system.key(name), {"model": "sim-dime", "messages": HELLO})
    assert answer.json["usage"]["completion_tokens"] == 7
    assert answer.json["choices"][0]["finish_reason"] == "length"
    assert system.vendor.books().total_nanousd == 7 * DIME
    assert system.sql(
        "SELECT ceiling_nanousd FROM holds WHERE grant_id = (SELECT id FROM grants WHERE path = %s)", name
    )[0] == (7 * DIME,)
    system.reconcile_with_vendor(name)


def test_no_max_tokens_holds_the_model_maximum(system: System, name: str) -> None:
    """Without any bound the model's own maximum is held: refused where it does not fit, served and booked where it does."""
    body = {"model": "sim-dime", "messages": HELLO}
    system.apply({name: root("1638.39"), f"{name}-more": root("1638.40")})
    refused = ask(system, system.key(name), body)
    assert (refused.code, refused.remit["required"]) == ("grant_exhausted", 16_384 * DIME)
    assert system.vendor.books().requests == 0
    assert ask(system, system.key(f"{name}-more"), body).status == 200
    assert system.vendor.books().total_nanousd == 16_384 * DIME
    system.reconcile_with_vendor(f"{name}-more")


def test_no_max_tokens_is_clamped_in_both_spellings(system: System, name: str) -> None:
    """`max_tokens` and `max_completion_tokens` are both kept, and both above the model's maximum are cut to it."""
    system.apply({name: root("1638.40")})
    key = system.key(name)
    for field in ("max_tokens", "max_completion_tokens"):
        answer = ask(system, key, {"model": "sim-dime", "messages": HELLO, field: 2})
        assert answer.json["usage"]["completion_tokens"] == 2
    assert system.vendor.books().total_nanousd == 4 * DIME
    huge = ask(system, key, {"model": "sim-small", "messages": HELLO, "max_tokens": 1_000_000})
    assert huge.json["usage"]["completion_tokens"] == 16_384
    system.reconcile_with_vendor(name)


def test_n_choices_are_all_held(system: System, name: str) -> None:
    """Eight choices with room for one are refused; with room for eight they cost eight."""
    system.apply({name: root("0.79"), f"{name}-more": root("0.80")})
    refused = ask(system, system.key(name), dime(1, n=8))
    assert (refused.code, refused.remit["required"]) == ("grant_exhausted", 8 * DIME)
    assert system.vendor.books().requests == 0
    served = ask(system, system.key(f"{name}-more"), dime(1, n=8))
    assert len(served.json["choices"]) == 8
    assert served.headers["remit-remaining-nanousd"] == "0"
    assert system.vendor.books().total_nanousd == 8 * DIME
    system.reconcile_with_vendor(f"{name}-more")


def test_unsound_vendor_counts_become_overage(system: System, name: str) -> None:
    """A vendor that counts more input than the text can have is booked in full: the excess as overage, and paged."""
    system.apply({name: root("1.00")})
    system.vendor.script(unsound=True, prompt_tokens=5_000_000, completion_tokens=1)
    key = system.key(name)
    answer = ask(system, key, {"model": "sim-small", "messages": HELLO, "max_tokens": 1})
    assert answer.headers["remit-cost-nanousd"] == str(5_000_000 * 100 + 400)
    kinds = {entry["kind"]: entry["amount_nanousd"] for entry in system.entries(name)}
    assert kinds.keys() == {"usage", "overage"} and sum(kinds.values()) == 5_000_000 * 100 + 400
    assert system.sql("SELECT audience FROM notifications WHERE kind = 'overage' AND body ->> 'path' = %s", name) == [
        ("on_call",)
    ]
    system.vendor.script()
    assert ask(system, key, dime(5)).code == "grant_exhausted"
    system.reconcile_with_vendor(name)
