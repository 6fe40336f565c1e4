"""Current capability and tags: nested, merged, restored, and apart in tasks and threads."""

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

import remit
from remit.grants.tags import MAX_TAGS, MAX_VALUE_LENGTH, check_tags, parse_tag_header
from remit.kernel.clock import SystemClock
from remit.sdk import Capability, CapabilityError, context
from remit.sdk.context import checked_tags, current_tags, tag_header
from tests.sdk.support import capability


@pytest.fixture(autouse=True)
def _nothing_in_use(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("REMIT_CAPABILITY", raising=False)
    before = context._capability.set(None)
    yield
    context._capability.reset(before)


def living() -> Capability:
    """A capability of now, because budgets of the context live by the machine's clock."""
    second = int(SystemClock().now().timestamp())
    return capability(issued_at=second - 60, not_before=second - 60, not_after=second + 3600)


def test_the_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `use` the capability comes from $REMIT_CAPABILITY; without both it is an error with a code."""
    with pytest.raises(CapabilityError) as caught:
        remit.current()
    assert caught.value.code == "missing"
    made = living()
    monkeypatch.setenv("REMIT_CAPABILITY", f"{made.token}\n")
    assert remit.current() == made


def test_use_is_from_now_on_or_for_a_while() -> None:
    """A plain call stays; as a context manager it gives back what was there before the call."""
    first, second = living(), living()
    remit.use(first)
    with remit.use(second) as inside:
        assert remit.current() == second == inside
    assert remit.current() == first


def test_tags_nest_and_the_inner_ones_win() -> None:
    """Tags add up inwards and are gone outwards, also when an exception leaves."""
    with remit.tags(feature="a", team="x"):
        with suppress(KeyError), remit.tags({"cost-center": "7"}, feature="b"):
            assert dict(current_tags()) == {"feature": "b", "team": "x", "cost-center": "7"}
            raise KeyError
        assert dict(current_tags()) == {"feature": "a", "team": "x"}
    assert not current_tags()


def test_a_sub_budget_is_a_child_and_is_current_inside() -> None:
    """Its terms are those of `attenuate`, other names are labels, and the parent is current again afterwards."""
    parent = living()
    with remit.use(parent), remit.sub_budget(usd="0.50", models=["gpt-4o"], feature="triage") as child:
        assert remit.current() == child
        view = child.inspect()
        assert [block.id for block in view.blocks[:-1]] == [parent.id]
        assert (view.limits[0].amount, view.models, view.labels) == (500_000_000, ("gpt-4o",), {"feature": "triage"})
        with remit.sub_budget(usd="0.10") as grandchild:
            assert [block.id for block in grandchild.inspect().blocks] == [parent.id, child.id, grandchild.id]
    with pytest.raises(CapabilityError):
        remit.current()


@pytest.mark.parametrize("name", ["usdd", "max_usd", "limit", "budget", "model", "max_tokens", "expires", "ttls"])
def test_a_misspelt_term_does_not_become_a_label(name: str) -> None:
    """A budget whose limit was misspelt would have none, so such a name is a label only where labels are listed."""
    with pytest.raises(TypeError, match="labels="):
        remit.sub_budget(**{name: "0.50"})
    with remit.use(living()), remit.sub_budget(labels={name: "0.50"}, run="7") as own:
        assert own.inspect().labels == {name: "0.50", "run": "7"}


def test_one_scope_is_entered_once_at_a_time() -> None:
    """Entering the same scope again would restore the wrong thing, so it is an error."""
    scope = remit.tags(a="b")
    with scope, pytest.raises(RuntimeError):
        scope.__enter__()
    with scope:
        assert dict(current_tags()) == {"a": "b"}


def test_tasks_do_not_meet() -> None:
    """Tasks that run at once each have their own child and tags, and the parent's stays theirs to return to."""
    parent = living()

    async def agent(number: int) -> tuple[str, str]:
        async with remit.tags(run=str(number)), remit.sub_budget(usd="0.10") as child:
            for _ in range(5):
                await asyncio.sleep(0)
                assert remit.current() == child and current_tags()["run"] == str(number)
            in_thread = await asyncio.to_thread(remit.current)
            assert in_thread == child
        assert remit.current() == parent
        return child.id, child.inspect().blocks[0].id

    async def all_of_them() -> list[tuple[str, str]]:
        with remit.use(parent):
            return await asyncio.gather(*(agent(number) for number in range(10)))

    made = asyncio.run(all_of_them())
    assert len({own for own, _ in made}) == 10
    assert {above for _, above in made} == {parent.id}


def test_a_thread_has_what_it_is_started_with() -> None:
    """A thread that runs in a copy of the context sees the capability; a bare one sees none and cannot spend."""
    seen: list[object] = []

    def look() -> None:
        try:
            seen.append(remit.current())
        except CapabilityError as error:
            seen.append(error.code)

    made = living()
    with remit.use(made):
        copy = contextvars.copy_context()
        for target in (lambda: copy.run(look), look):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    # Since Python 3.14 a build without the global lock hands the context to threads by itself.
    assert seen[0] == made and seen[1] in ("missing", made)


NAMES = st.from_regex(r"[a-z][a-z0-9_.-]{0,62}", fullmatch=True)
VALUES = st.text(st.characters(codec="utf-8"), max_size=MAX_VALUE_LENGTH + 2)


@given(st.dictionaries(NAMES, VALUES, max_size=MAX_TAGS + 2))
def test_the_header_says_the_tags(tags: dict[str, str]) -> None:
    """Whatever the SDK lets pass the gateway reads back as the same tags; what it refuses the header could not say."""
    try:
        checked = checked_tags(tags)
    except ValueError:
        stripped = {name: value.strip() for name, value in tags.items()}
        assert check_tags(stripped) is not None or any("," in value for value in tags.values())
        return
    header = tag_header(checked)
    assert checked == {name: value.strip() for name, value in tags.items()}
    assert (parse_tag_header(header) if header is not None else {}) == checked


def test_what_a_request_says_itself_wins() -> None:
    """A header the application set stays, and the context adds what it does not name."""
    assert tag_header({"a": "1", "b": "2"}, "b=9, c=3") == "b=9,c=3,a=1"
    assert parse_tag_header("b=9,c=3,a=1") == {"a": "1", "b": "9", "c": "3"}
    assert tag_header({}, None) is None


@pytest.mark.parametrize("given", [{"A": "x"}, {"a": ""}, {"a": "x,y"}, {"a": "x\ny"}, {"a": "x" * 129}])
def test_tags_that_cannot_be_sent_are_told_at_once(given: dict[str, str]) -> None:
    """A tag the gateway would refuse with every request fails where it is written."""
    with pytest.raises(ValueError, match="tag"):
        remit.tags(given)
