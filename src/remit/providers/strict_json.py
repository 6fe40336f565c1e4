"""JSON that means one thing only: what two parsers could read differently is refused."""

import json
import math
from typing import Any

MAX_DEPTH = 64


class StrictJsonError(ValueError):
    """The bytes are not JSON with one meaning; the message is a lower-case clause without the content."""


def parse(body: bytes) -> Any:
    """The value of a UTF-8 JSON text.

    Refused beyond what JSON itself refuses: duplicate keys at any depth (readers disagree on which one counts), NaN,
    infinities and numbers that overflow to one, unpaired surrogates, a byte order mark, nesting deeper than 64.
    """
    try:
        value = _DECODER.decode(body.decode("utf-8", "strict"))
    except UnicodeDecodeError:
        raise StrictJsonError("the body is not UTF-8") from None
    except RecursionError:
        raise StrictJsonError(f"the body nests deeper than {MAX_DEPTH}") from None
    except json.JSONDecodeError as error:
        raise StrictJsonError(f"the body is not JSON: {error.msg.lower()} at character {error.pos}") from None
    except StrictJsonError:
        raise
    except ValueError:
        raise StrictJsonError("the body holds a number that is too long") from None
    _check_depth(value)
    if b"\\ud" in body or b"\\uD" in body:
        _check_surrogates(value)
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for item in level:
            if type(item) is dict:
                below += [child for child in item.values() if type(child) is dict or type(child) is list]
            elif type(item) is list:
                below += [child for child in item if type(child) is dict or type(child) is list]
        if not below:
            return
        level = below
    raise StrictJsonError(f"the body nests deeper than {MAX_DEPTH}")


def _check_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise StrictJsonError("the body holds an unpaired surrogate") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise StrictJsonError("an object of the body states a key twice")
    return result


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise StrictJsonError("the body holds a number that is not finite")
    return number


def _constant(name: str) -> Any:
    raise StrictJsonError(f"the body holds `{name}`, which is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_constant)
