"""JSON that means one thing only: what two parsers could read differently is refused."""

import math
import re
from typing import Any

import msgspec

MAX_DEPTH = 64
MAX_STRUCTURE = 100_000
"""Containers and commas of a body, which is what reading costs: some 30,000 messages."""
MAX_DIGITS = 309
"""In a row: what the largest double has. Reading an integer takes time that grows with the square of its length."""

Number = (int, msgspec.Raw)
"""What numbers are read as. Booleans are `int` too, so whoever checks for numbers checks for those."""


class StrictJsonError(ValueError):
    """The bytes are not JSON with one meaning; the message is a lower-case clause without the content."""


def parse(body: bytes) -> Any:
    """The value of a UTF-8 JSON text. Numbers with a fraction or an exponent stay the text they are (`msgspec.Raw`).

    Refused beyond what JSON itself refuses: duplicate keys at any depth (readers disagree on which one counts), NaN,
    infinities, numbers that overflow to one or are very long, unpaired surrogates, a byte order mark, nesting deeper than 64, and
    more than `MAX_STRUCTURE` values, before they are read.
    """
    try:
        body.decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise StrictJsonError("the body is not UTF-8") from None
    outside = _outside_strings(body)
    if sum(outside.count(mark) for mark in (b"{", b"[", b",")) > MAX_STRUCTURE:
        raise _too_many()
    if _LONG_NUMBER.search(outside) is not None:
        raise StrictJsonError("the body holds a number that is too long")
    try:
        value = _DECODER.decode(body)
    except msgspec.ValidationError as error:
        raise StrictJsonError(f"the body holds a number that cannot be read: {str(error).lower()}") from None
    except msgspec.DecodeError as error:
        raise StrictJsonError(f"the body is not JSON: {str(error).lower()}") from None
    except RecursionError:
        raise StrictJsonError(f"the body nests deeper than {MAX_DEPTH}") from None
    if _count_members(value) != outside.count(b":"):
        raise StrictJsonError("an object of the body states a key twice")
    return value


def _outside_strings(body: bytes) -> bytes:
    """What of a JSON text stands between its strings.

    Of bytes that are not JSON it is right up to the first that is wrong, and no reader gets farther.
    """
    # A backslash only occurs inside strings. Without pairs of them and escaped quotes, each quote begins or ends one.
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body
    if bare.count(b'"') > 2 * MAX_STRUCTURE + 2:
        raise _too_many()
    return b"".join(bare.split(b'"')[::2])


def _too_many() -> StrictJsonError:
    return StrictJsonError(f"the body holds more than {MAX_STRUCTURE:,} values")


def _count_members(value: Any) -> int:
    """Members of all objects: fewer than the colons of the text where a key was stated twice."""
    members = 0
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for item in level:
            if type(item) is dict:
                members += len(item)
                below += [child for child in item.values() if type(child) is dict or type(child) is list]
            elif type(item) is list:
                below += [child for child in item if type(child) is dict or type(child) is list]
        if not below:
            return members
        level = below
    raise StrictJsonError(f"the body nests deeper than {MAX_DEPTH}")


def _number(text: str) -> msgspec.Raw:
    if not math.isfinite(float(text)):
        raise ValueError("it is not finite")
    return msgspec.Raw(text.encode())


# From the beginning of a number only: tried at each of its digits it would read them over and over.
_LONG_NUMBER = re.compile(rb"(?<![0-9])[0-9]{%d}" % (MAX_DIGITS + 1))
_DECODER = msgspec.json.Decoder(float_hook=_number)
