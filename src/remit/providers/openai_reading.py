"""Typed reads of a parsed request: the value, or the problem with it."""

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import msgspec

from remit.kernel.decisions import RefusalCode
from remit.providers.strict_json import Number

MAX_TEXT = 512
"""Characters of a field that is no prompt: a user, a cache key, a tier."""


class Problem(msgspec.Struct, frozen=True):
    """Why a request is refused before any grant is looked at; `detail` is a lower-case sentence.

    Where only the shape is at fault, `model` and `metadata` are the request's: other rules come before that one.
    """

    code: RefusalCode
    detail: str
    model: str | None = None
    metadata: Mapping[str, str] = {}


class ProblemError(Exception):
    """Carries a problem out of the reading of a request."""

    def __init__(self, code: RefusalCode, detail: str) -> None:
        super().__init__(detail)
        self.problem = Problem(code, detail)


def malformed(detail: str) -> ProblemError:
    """What is stated cannot be read."""
    return ProblemError(RefusalCode.malformed_request, detail)


def unbounded(detail: str) -> ProblemError:
    """What is asked for has no bound here, so it is not passed on."""
    return ProblemError(RefusalCode.shape_exceeded, detail)


def only(value: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    """Refuses what is not known: an unknown field may be a new way to bill or a text that nobody counted."""
    if not value.keys() <= known:
        name = min(value.keys() - known)
        raise unbounded(f"{where}: `{name[:64]}` is not a field whose cost is bounded here, so it is not passed on")


def object_in(value: Any, known: frozenset[str], where: str) -> dict[str, Any]:
    """An object with known fields only."""
    if not isinstance(value, dict):
        raise malformed(f"{where} is not an object")
    only(value, known, where)
    return value


def objects(fields: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects, empty where it is absent or null."""
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise malformed(f"`{name}` is not a list of objects")
    return value


def text_or_none(fields: Mapping[str, Any], name: str, longest: int = MAX_TEXT) -> str | None:
    """A text that is no prompt."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > longest or "\0" in value:
        raise malformed(f"`{name}` is not a text of at most {longest} characters")
    return value


def required_text(fields: Mapping[str, Any], name: str) -> str:
    """A text that has to be there."""
    value = text_or_none(fields, name)
    if not value:
        raise malformed(f"`{name}` is missing")
    return value


def boolean(fields: Mapping[str, Any], name: str) -> bool:
    """True or false; false where it is absent."""
    value = fields.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise malformed(f"`{name}` is neither true nor false")
    return value


def integer(fields: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    """An integer within bounds, written as one."""
    value = fields.get(name)
    if value is not None and (type(value) is not int or not low <= value <= high):
        raise malformed(f"`{name}` is not an integer from {low} to {high}")
    return value


def is_number(value: Any) -> bool:
    """Whether a parsed value is a number; the longest double takes fewer than 64 characters to write."""
    if isinstance(value, bool) or not isinstance(value, Number):
        return False
    return value.bit_length() < 256 if isinstance(value, int) else len(bytes(value)) < 64


def strings(value: Any) -> Iterator[str]:
    """Every text inside a value, keys included, and numbers as they are written."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            yield from item
            stack += item.values()
        elif isinstance(item, list):
            stack += item
        elif isinstance(item, msgspec.Raw):
            yield bytes(item).decode()
        elif item is not None:
            yield str(item)


def unknown_kind(kind: Any, where: str, why: str) -> NoReturn:
    """Refuses a `type` that is not known, whatever it is."""
    raise unbounded(f"{where} of type `{kind[:64] if isinstance(kind, str) else '?'}` {why}")
