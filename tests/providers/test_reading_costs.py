"""Bodies made to be slow: refused, or read, in a bounded number of steps."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.providers import schema_size
from remit.providers.openai import ChatRequest, Problem, parse_chat_request
from remit.providers.schema_size import SchemaSizes, SchemaTooLargeError
from remit.providers.strict_json import MAX_STRUCTURE, StrictJsonError, parse
from tests.providers.bodies import request


def _tool(parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": parameters}}


def _nested(value: Any, depth: int) -> dict[str, Any]:
    """A value below so many objects, with a reference to each of them."""
    references, path = [], "#"
    for _ in range(depth):
        value = {"a": value}
        references.append({"$ref": path})
        path += "/a"
    return {**value, "r": references}


def _everyone_knows_everyone(count: int) -> dict[str, Any]:
    names = [f"#/d/{number}" for number in range(count)]
    return {"d": {str(number): [{"$ref": name} for name in names] for number in range(count)}, "$ref": names[0]}


@pytest.mark.parametrize(
    "tools",
    [
        [_tool({"e": [{"$ref": f"#/e/{number}"} for number in range(8000)]})],
        [_tool({"r": [{"$ref": f"#/e/x{number}"} for number in range(30_000)]})],
        [_tool(_nested("y" * 1_000_000, 50))],
        [_tool({"d": {str(number): {"$ref": f"#/d/{number + 1}"} for number in range(20_000)}, "$ref": "#/d/0"})],
        [_tool(_everyone_knows_everyone(60))],
        [_tool({"e": [{"$ref": f"#/e/{number}"} for number in range(300)]})] * 100,
    ],
    ids=["a list that points into itself", "dead", "nested", "a chain", "everyone to everyone", "many tools"],
)
def test_references_that_take_long_are_refused(tools: list[dict[str, Any]]) -> None:
    """However references are arranged, measuring them ends after so many steps, for all tools together."""
    found = parse_chat_request(request(tools=tools))
    assert isinstance(found, Problem)
    assert "references" in found.detail


def test_the_steps_are_the_bound() -> None:
    """What was measured for one schema is missing for the next one of the same request."""
    sizes = SchemaSizes()
    schema = {"d": [{}] * 1000, "r": {"$ref": "#/d"}}
    with pytest.raises(SchemaTooLargeError):
        [sizes.expanded_bytes(schema, schema) for _ in range(1000)]
    assert sizes._steps <= schema_size.MAX_STEPS + 1001


def _written_out(value: Any, root: Any) -> Any:
    """A value with its references replaced, for schemas without cycles."""
    if isinstance(value, dict):
        inner = {key: _written_out(child, root) for key, child in value.items()}
        if "$ref" in value:
            target = root
            for key in value["$ref"].split("/")[1:]:
                target = target[key]
            inner["here"] = _written_out(target, root)
        return inner
    return value


@settings(max_examples=100, deadline=None)
@given(data=st.data(), count=st.integers(1, 7))
def test_sizes_are_those_of_the_schema_written_out(data: st.DataObject, count: int) -> None:
    """Without cycles the size is exactly that of the text with each reference replaced by its target."""
    definitions: dict[str, Any] = {}
    for number in range(count):
        below = data.draw(st.lists(st.integers(0, number - 1), max_size=3)) if number else []
        properties = {f"p{place}": {"$ref": f"#/d/{target}"} for place, target in enumerate(below)}
        definitions[str(number)] = {"text": "x" * data.draw(st.integers(0, 20)), **properties}
    schema = {"d": definitions, "$ref": f"#/d/{count - 1}"}
    expected = json.dumps(_written_out(schema, schema), separators=(",", ":"))
    frames = expected.count(',"here":')
    assert SchemaSizes().expanded_bytes(schema, schema) == len(expected) - frames * len(',"here":')


@pytest.mark.parametrize(
    ("reference", "low"),
    [
        ("#/d/1", 2 * 1000),
        ("#/d/01", 1000),
        ("#/d/\u0661", 1000),
        ("#/d/9", 1000),
        ("#name", 2 * 1000),
        ("https://example.com/schema", 1000),
        ("#/d/" + "9" * 5000, 1000),
    ],
)
def test_references_that_point_nowhere_count_as_the_schema(reference: str, low: int) -> None:
    """What a vendor could put in place of a reference is never larger than what is counted."""
    schema = {"d": ["x", {"$anchor": "name", "text": "y" * 1000}], "r": {"$ref": reference}}
    assert SchemaSizes().expanded_bytes(schema, schema) >= low


BIG = [
    b"[" + b",".join([b"{}"] * 2_000_000) + b"]",
    b"[" + b",".join([b"1"] * 2_000_000) + b"]",
    b"[" + b",".join([b'""'] * 2_000_000) + b"]",
    b"{" + b",".join(b'"%d":1' % number for number in range(MAX_STRUCTURE + 1)) + b"}",
]


@pytest.mark.parametrize("body", BIG, ids=["objects", "numbers", "texts", "members"])
def test_more_values_than_anyone_needs_are_not_read(body: bytes) -> None:
    """The number of values is known before any is made."""
    with pytest.raises(StrictJsonError, match="more than 100,000 values"):
        parse(body)


def test_marks_inside_texts_are_no_values() -> None:
    """A prompt may hold as much JSON, and as many quotes and backslashes, as it likes."""
    for text in ('{"a":[1,2],' * 100_000, '"' * 300_000, "\\" * 300_001, '\\"' * 300_001, ",\n" * 300_000):
        found = parse_chat_request(request(messages=[{"role": "user", "content": text}]))
        assert isinstance(found, ChatRequest)
        assert found.texts[1] == text


def test_ten_thousand_messages_are_read() -> None:
    """A long conversation is far from the bound."""
    found = parse_chat_request(request(messages=[{"role": "user", "content": "hi"}] * 10_000))
    assert isinstance(found, ChatRequest)


@pytest.mark.parametrize("number", [b"1" * 310, b"-" + b"1" * 4200, b"0." + b"1" * 310, b"1e" + b"1" * 310])
def test_very_long_numbers_are_refused(number: bytes) -> None:
    """Reading an integer takes quadratic time, so its length is bounded before it is read."""
    with pytest.raises(StrictJsonError, match="too long"):
        parse(b"[" + number + b"]")


TEXTS = st.text(st.sampled_from(['"', "\\", ":", "{", "}", "a", ",", "\n", "\u00e9"]), max_size=6)


def _plain(pairs: list[tuple[str, Any]]) -> Any:
    if len(dict(pairs)) != len(pairs):
        raise KeyError
    return dict(pairs)


@st.composite
def _objects(draw: st.DrawFn, depth: int = 2) -> str:
    """An object as text, which may state a key twice, with escapes that hide it."""
    members = []
    for _ in range(draw(st.integers(0, 4))):
        key = json.dumps(draw(TEXTS), ensure_ascii=draw(st.booleans()))
        if draw(st.booleans()):
            key = key.replace("a", "\\u0061")
        value = draw(_objects(depth - 1)) if depth and draw(st.booleans()) else json.dumps(draw(TEXTS))
        members.append(f"{key} : {draw(st.sampled_from(['{}', '[{}]', '[1,{}]'])).replace('{}', value)}")
    return "{" + ",".join(members) + "}"


@settings(max_examples=200, deadline=None)
@given(text=_objects())
def test_a_key_stated_twice_is_always_found(text: str) -> None:
    """Counting colons outside of texts finds exactly the duplicates that a reader of pairs finds."""
    try:
        expected = json.loads(text, object_pairs_hook=_plain)
    except KeyError:
        with pytest.raises(StrictJsonError, match="states a key twice"):
            parse(text.encode())
    else:
        assert parse(text.encode()) == expected
