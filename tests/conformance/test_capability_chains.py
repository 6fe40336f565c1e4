"""Chains of blocks at a real gateway, judged on the vendor's books: appending neither resets nor widens anything."""

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest

import remit
from remit.capabilities.rules import public_key_of
from remit.grants.keys import NewKey
from remit.kernel.clock import SystemClock
from remit.sdk import Capability, async_anthropic, async_openai, attenuate, configure, context, httpx_auth
from remit.sdk import anthropic as anthropic_client
from remit.sdk import openai as openai_client
from tests.conformance.support import DIME, DOLLAR, HELLO, ask, codes, dime
from tests.system.harness import ADMIN, System, root


@pytest.fixture(autouse=True)
def _nothing_in_use(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("REMIT_CAPABILITY", raising=False)
    before = context._capability.set(None)
    yield
    context._capability.reset(before)


def issued(system: System, path: str, **terms: Any) -> Capability:
    """The capability behind a new access key of a grant."""
    made = system.authority.keys().create(path, "chains", ADMIN, **terms)
    assert isinstance(made, NewKey) and made.token is not None
    return Capability(made.token)


def gateway(system: System) -> str:
    return system.base_url.removesuffix("/v1")


def call(client: openai.OpenAI, tokens: int = 1, **more: Any) -> Any:
    """One call of $0.10 for each token."""
    return client.chat.completions.create(model="sim-dime", messages=HELLO, max_tokens=tokens, **more)


def entries(system: System, path: str) -> list[dict[str, Any]]:
    return [one for one in system.entries(path) if one["amount_nanousd"]]


def test_appending_never_resets(system: System, name: str) -> None:
    """A spent block stays spent behind every block that is appended to it, and it is the one that is named."""
    system.apply({name: root("10")})
    team = issued(system, name)
    child = attenuate(team, usd="0.10")
    assert ask(system, child.token, dime()).code == "served"
    for chain in (attenuate(child), attenuate(child, usd="5"), attenuate(attenuate(child, usd="5"), usd="5")):
        refused = ask(system, chain.token, dime()).remit
        assert (refused["code"], refused["limit"], refused["posted"]) == ("grant_exhausted", DIME, DIME)
        assert refused["binding_node"] == f"{name}#{child.id[:12]}"
    assert ask(system, attenuate(team, usd="0.10").token, dime()).code == "served"
    assert system.vendor.books().total_nanousd == 2 * DIME
    system.reconcile_with_vendor(name)


def test_siblings_share_what_is_above_them(system: System, name: str) -> None:
    """Children that are promised more than their parent has get together what it has, to the cent."""
    system.apply({name: root("10")})
    parent = attenuate(issued(system, name), usd="0.50")
    children = [attenuate(parent, usd="0.30") for _ in range(3)]
    answers = [ask(system, children[number % 3].token, dime()) for number in range(12)]
    assert codes(answers) == {"served": 5, "grant_exhausted": 7}
    assert system.vendor.books().total_nanousd == 5 * DIME
    system.reconcile_with_vendor(name)


@pytest.mark.parametrize(
    ("parent", "child", "code"),
    [
        ({"models": ["sim-small"]}, {"models": ["*"]}, "model_not_allowed"),
        ({"models": ["sim-small"]}, {"models": ["sim-dime"]}, "model_not_allowed"),
        ({"models": ["sim-*"]}, {"models": ["sim-small"]}, "model_not_allowed"),
        ({"surfaces": ["embeddings"]}, {"surfaces": ["chat.completions"]}, "surface_not_allowed"),
        ({"surfaces": ["chat.completions"]}, {"surfaces": ["embeddings"]}, "surface_not_allowed"),
        ({"usd": "0.05"}, {"usd": "5"}, "grant_exhausted"),
        ({"tokens": 1}, {"tokens": 100_000}, "grant_exhausted"),
        ({"requests": 0}, {"requests": 5}, "grant_exhausted"),
        ({"labels": {"environment": "sandbox"}}, {"labels": {"feature": "x"}}, "class_mismatch"),
    ],
)  # fmt: skip
def test_appending_never_widens(
    system: System, name: str, parent: dict[str, Any], child: dict[str, Any], code: str
) -> None:
    """What one block does not allow no later block allows, and nothing reaches the vendor."""
    system.apply({name: root("10")})
    chain = attenuate(attenuate(issued(system, name), **parent), **child)
    answer = ask(system, chain.token, dime())
    assert answer.code == code
    # The grant allows every model and surface, so it is not the grant that is to be asked about.
    assert ("among the capability's" in answer.remit["detail"]) == code.endswith("_not_allowed")
    assert system.vendor.books().requests == 0


def test_appending_never_prolongs(system: System, name: str) -> None:
    """A child asked to live longer than its parent ends with it; handing on stops where the chain says."""
    system.apply({name: root("10")})
    parent = attenuate(issued(system, name), ttl=2, max_depth=1)
    child = attenuate(parent, ttl="1h", max_depth=7)
    assert child.expires_at == parent.expires_at
    with pytest.raises(remit.CapabilityError):
        attenuate(child)
    asyncio.run(asyncio.sleep(max(0.0, (parent.expires_at - SystemClock().now()).total_seconds())))
    assert ask(system, child.token, dime()).code == "capability_expired"
    assert system.vendor.books().requests == 0


@pytest.mark.parametrize("by", ["grant", "block"])
def test_a_person_binds_on_a_team_key(system: System, name: str, by: str) -> None:
    """$0.20 for a person below a team of $10 is $0.20, as a grant of theirs or as a block of the team's capability."""
    person = {"owner": "bo@acme.example", "limits": [{"usd": "0.20", "per": "month"}]}
    system.apply({name: root("10.00", children={"bo": person})})
    cap = issued(system, f"{name}/bo") if by == "grant" else attenuate(issued(system, name), usd="0.20", per="month")
    # Blocks of any size behind it change nothing.
    chains = [cap, attenuate(cap, usd="5"), attenuate(attenuate(cap), usd="9")]
    answers = [ask(system, chains[number % 3].token, dime()) for number in range(9)]
    assert codes(answers) == {"served": 2, "grant_exhausted": 7}
    assert answers[-1].remit["limit"] == 2 * DIME
    assert system.vendor.books().total_nanousd == 2 * DIME
    system.reconcile_with_vendor(name)


def test_the_sdk_spends_what_is_current(system: System, name: str) -> None:
    """One client spends by the capability that is current; budgets within are kept apart and tags arrive in entries."""
    system.apply({name: root("10")})
    remit.use(issued(system, name))
    with openai_client(base_url=system.base_url) as client:
        with remit.tags(feature="café", team="a"), remit.sub_budget(usd="0.20", run="7") as child:
            call(client)
            with remit.tags(feature="b"):
                call(client, extra_headers={"remit-tags": "step=2"})
            with pytest.raises(remit.BudgetExhausted) as caught:
                call(client)
        call(client)
    assert caught.value.binding_node == f"{name}#{child.id[:12]}"
    booked = entries(system, name)
    assert [one["tags"] for one in booked] == [
        {"feature": "café", "team": "a", "run": "7"},
        {"feature": "b", "team": "a", "run": "7", "step": "2"},
        {},
    ]
    assert system.vendor.books().total_nanousd == 3 * DIME
    system.reconcile_with_vendor(name)


def test_sub_budgets_of_tasks_are_kept_apart(system: System, name: str) -> None:
    """Ten agents at once on one client: each spends its own $0.20 and not a cent of another's."""
    system.apply({name: root("10")})
    remit.use(issued(system, name))

    async def agent(client: openai.AsyncOpenAI) -> tuple[str, int]:
        served = 0
        async with remit.sub_budget(usd="0.20") as own:
            try:
                while True:
                    await client.chat.completions.create(model="sim-dime", messages=HELLO, max_tokens=1)
                    served += 1
            except remit.BudgetExhausted as error:
                refused = error
        return (own.id, served) if refused.binding_node == f"{name}#{own.id[:12]}" else ("another's", served)

    async def all_of_them() -> list[tuple[str, int]]:
        async with async_openai(base_url=system.base_url) as client:
            return await asyncio.gather(*(agent(client) for _ in range(10)))

    done = asyncio.run(all_of_them())
    assert len({own for own, _ in done}) == 10
    assert {served for _, served in done} == {2}
    assert system.vendor.books().total_nanousd == 2 * DOLLAR
    system.reconcile_with_vendor(name)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("per", ["once", "day"])
def test_refusals_are_typed_and_still_the_clients_own(system: System, name: str, per: str, stream: bool) -> None:
    """A refusal is `BudgetExhausted` and what the client raises by itself, in both worlds, for calls and streams."""
    system.apply({name: root("10")})
    chain = attenuate(issued(system, name), usd="0.10", per=per)
    assert ask(system, chain.token, dime()).status == 200
    own = openai.RateLimitError if per == "day" else openai.APIStatusError

    async def asynchronous() -> None:
        async with async_openai(chain, base_url=system.base_url, max_retries=0) as client:
            await client.chat.completions.create(model="sim-dime", messages=HELLO, max_tokens=1, stream=stream)

    def synchronous() -> None:
        with openai_client(chain, base_url=system.base_url, max_retries=0) as client:
            call(client, stream=stream)

    for attempt in (synchronous, lambda: asyncio.run(asynchronous())):
        with pytest.raises(remit.BudgetExhausted) as caught:
            attempt()
        refused = caught.value
        assert isinstance(refused, own) and isinstance(refused, openai.APIStatusError)
        assert (refused.status, refused.status_code) == ((429, 429) if per == "day" else (402, 402))
        assert (refused.limit, refused.posted, refused.held, refused.required) == (DIME, DIME, 0, DIME)
        assert (refused.dimension, refused.owner, refused.path) == ("usd", "ada@acme.example", name)
        assert (refused.resets_at is not None) == (per == "day")
        assert refused.decision_id is not None and refused.request_id == refused.response.headers["x-request-id"]
    assert system.vendor.books().total_nanousd == DIME


def test_refusals_of_anthropics_clients_are_typed(system: System, name: str) -> None:
    """Anthropic's surface is refused today, and that arrives as `NotAllowed` and as their own error, in both worlds."""
    system.apply({name: root("10")})
    remit.use(issued(system, name))
    wanted: Any = {"model": "claude-test", "max_tokens": 5, "messages": HELLO}

    async def asynchronous(stream: bool) -> None:
        async with async_anthropic(base_url=gateway(system)) as client:
            await client.messages.create(**wanted, stream=stream)

    def synchronous(stream: bool) -> None:
        with anthropic_client(base_url=gateway(system)) as client:
            client.messages.create(**wanted, stream=stream)

    for stream in (False, True):
        for attempt in (synchronous, lambda stream: asyncio.run(asynchronous(stream))):
            with pytest.raises(remit.NotAllowed) as caught:
                attempt(stream)
            assert caught.value.code == "surface_not_allowed"
            assert isinstance(caught.value, anthropic.PermissionDeniedError)


def test_plain_clients_raise_refusals_inside_refusals(system: System, name: str) -> None:
    """Errors of clients nobody configured, and of httpx, become refusals from that error, also where a body is streamed."""
    system.apply({name: root("0.05")})
    chain = issued(system, name)
    with pytest.raises(remit.BudgetExhausted) as caught, remit.refusals(), system.client(chain.token) as plain:
        call(plain)
    assert isinstance(caught.value.__cause__, openai.APIStatusError)
    assert not isinstance(caught.value, openai.APIStatusError)
    with httpx.Client(auth=httpx_auth(chain, base_url=system.base_url)) as client:
        answer = client.post(f"{system.base_url}/chat/completions", json=dime())
        assert isinstance(remit.refusal_of(answer), remit.BudgetExhausted)
        url = f"{system.base_url}/chat/completions"
        with pytest.raises(remit.BudgetExhausted), client.stream("POST", url, json=dime()) as answer, remit.refusals():
            answer.raise_for_status()

    async def streamed_answer() -> None:
        async with httpx.AsyncClient(auth=httpx_auth(chain)) as asynchronous:
            url = f"{system.base_url}/chat/completions"
            async with asynchronous.stream("POST", url, json=dime()) as answer, remit.refusals():
                answer.raise_for_status()

    with pytest.raises(remit.BudgetExhausted):
        asyncio.run(streamed_answer())


def test_an_existing_client_is_configured(system: System, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of an application's own client keeps its class and options, spends what is current, and leaks no vendor key."""
    system.apply({name: root("0.10")})
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-vendor")
    monkeypatch.setenv("REMIT_BASE_URL", system.base_url)
    monkeypatch.setenv("REMIT_CAPABILITY", issued(system, name).token)

    class Own(openai.OpenAI):
        """An application's own client."""

    before = Own(api_key="sk-other", max_retries=7, default_headers={"x-app": "1"})
    client = configure(before)
    assert isinstance(client, Own) and client.max_retries == 7 and client.default_headers["x-app"] == "1"
    assert before.api_key == "sk-other" and "api.openai.com" in str(before.base_url)
    assert client.api_key != "sk-other"
    call(client)
    with pytest.raises(remit.BudgetExhausted):
        call(client.with_options(timeout=5))
    assert system.vendor.books().total_nanousd == DIME
    with pytest.raises(TypeError):
        configure(httpx.Client())  # type: ignore[type-var]


def test_a_capability_goes_to_its_gateway_only(system: System, name: str) -> None:
    """A client that is sent elsewhere, by mistake or by a redirect, does not take the capability along."""
    system.apply({name: root("10")})
    client = openai_client(issued(system, name), base_url=system.base_url)
    with client, pytest.raises(remit.CapabilityError) as caught:
        call(client.with_options(base_url=system.vendor.base_url))
    assert caught.value.code == "another_gateway"
    assert system.vendor.books().requests == 0


def test_a_child_without_a_secret_is_used_with_its_holders_key(system: System, name: str) -> None:
    """Handed over by public key, it is of no use to whoever has the text, and spends with proofs by the private one."""
    system.apply({name: root("10")})
    private_key = os.urandom(32)
    handed = attenuate(issued(system, name), usd="0.10", public_key=public_key_of(private_key))
    with openai_client(handed, base_url=system.base_url) as thief, pytest.raises(remit.ProofRequired):
        call(thief)
    with openai_client(handed, base_url=system.base_url, private_key=private_key) as holder:
        call(holder)
        with pytest.raises(remit.BudgetExhausted):
            call(holder)
    assert system.vendor.books().total_nanousd == DIME
