"""Bytes of a JSON schema as if every `$ref` were written out in place.

Vendors do not publish whether they inline references when they render a schema as text; counting the inlined size is
the sound reading. It is computed without building the text, and within a bounded number of steps per request.
"""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgspec

MAX_EXPANDED_BYTES = 1 << 30
MAX_STEPS = 20_000
"""Containers visited and references followed in one request with references: some 20 ms of work."""
_RESOLVING_STEPS = 5
MAX_ENCODED_BYTES = 8 << 20
MAX_CHAIN = 64
"""References that lead to references: how deep they may nest."""
_KEYS = ("$ref", "$dynamicRef", "$recursiveRef")
_MARKS = tuple(f'"{key}"'.encode() for key in _KEYS)
_NAME_MARKS = (b'"$id"', b'"$anchor"', b'"$dynamicAnchor"')


class SchemaTooLargeError(ValueError):
    """What a schema would be when written out is beyond every bound; the message is a lower-case clause."""


@dataclass(slots=True)
class _Target:
    """Something references point at: its own bytes, and how often it points at what."""

    value: Any
    own_bytes: int
    references: Counter[int] | None = None  # looked for when they are needed
    expanded: int | None = None


class SchemaSizes:
    """Sizes of the values of one request; the bounds on the work hold for all of them together."""

    def __init__(self) -> None:
        self._steps = 0
        self._encoded = 0

    def expanded_bytes(self, value: Any, schema: Any) -> int:
        """UTF-8 bytes of a value as compact JSON, each `$ref` in it replaced by its target in `schema`.

        A reference back to something that is being written out counts nothing: nobody can inline it. One that is no
        path into the schema counts as the whole schema, the most that could stand for it, and where the schema names
        parts of itself (`$anchor`) with its references written out. Raises SchemaTooLargeError.
        """
        text = compact(value)
        if not any(mark in text for mark in _MARKS):
            return len(text)
        return _Expansion(self, schema).total(value, len(text))

    def step(self, count: int = 1) -> None:
        """Notes work done; raises SchemaTooLargeError when it is too much."""
        self._steps += count
        if self._steps > MAX_STEPS:
            raise SchemaTooLargeError("the schemas hold too many references to be measured")

    def encoded(self, value: Any) -> int:
        """Bytes of a value, counted as work."""
        size = len(compact(value))
        self._encoded += size
        if self._encoded > MAX_ENCODED_BYTES:
            raise SchemaTooLargeError("the schemas hold references that nest too much to be measured")
        return size


def compact(value: Any) -> bytes:
    """A parsed value as compact JSON, numbers digit by digit."""
    try:
        return msgspec.json.encode(value)
    except OverflowError:  # an integer beyond 64 bits
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_raw_text).encode()


def _raw_text(raw: msgspec.Raw) -> str:
    return bytes(raw).decode()


class _Expansion:
    """References of one schema. Targets are known by the identity of the value, so that aliases are one target."""

    def __init__(self, sizes: SchemaSizes, root: Any) -> None:
        self._sizes = sizes
        self._root = root
        self._elsewhere: Any = root
        if not any(mark in compact(root) for mark in _NAME_MARKS):
            self._elsewhere = compact(root).decode()  # as long as the schema, and without references
        self._resolved: dict[str, Any] = {}
        self._targets: dict[int, _Target] = {}

    def total(self, value: Any, own_bytes: int) -> int:
        return self._expand(_Target(value, own_bytes), {}, 0)[0]

    def _expand(self, target: _Target, is_open: dict[int, int], depth: int) -> tuple[int, int]:
        """Bytes when written out, and the depth of the outermost open target that was met on the way."""
        if depth > MAX_CHAIN:
            raise SchemaTooLargeError(f"references of a schema nest deeper than {MAX_CHAIN}")
        if target.references is None:
            target.references = self._references_in(target.value)
        size, outermost = target.own_bytes, depth
        for key, count in target.references.items():
            self._sizes.step()
            found = self._targets[key]
            if key in is_open:
                outermost = min(outermost, is_open[key])
                continue
            if found.expanded is None:
                is_open[key] = depth + 1
                each, met = self._expand(found, is_open, depth + 1)
                del is_open[key]
                # Kept unless it was cut short by something that need not be open the next time.
                if met > depth:
                    found.expanded = each
                outermost = min(outermost, met)
            else:
                each = found.expanded
            size += count * each
            if size > MAX_EXPANDED_BYTES:
                raise SchemaTooLargeError("a schema is too large when its references are written out")
        return size, outermost

    def _references_in(self, value: Any) -> Counter[int]:
        """The targets a value points at, each measured once."""
        names: list[str] = []
        level = [value]
        while level:
            self._sizes.step(len(level))
            below: list[Any] = []
            for item in level:
                if type(item) is dict:
                    names += [item[key] for key in _KEYS if key in item and isinstance(item[key], str)]
                    below += [child for child in item.values() if type(child) is dict or type(child) is list]
                elif type(item) is list:
                    below += [child for child in item if type(child) is dict or type(child) is list]
            level = below
        references: Counter[int] = Counter()
        for name, count in Counter(names).items():
            references[self._target(name)] += count
        return references

    def _target(self, reference: str) -> int:
        if reference not in self._resolved:
            self._sizes.step(_RESOLVING_STEPS)
            self._resolved[reference] = self._resolve(reference)
        value = self._resolved[reference]
        key = id(value)
        if key not in self._targets:
            self._targets[key] = _Target(value, self._sizes.encoded(value))
        return key

    def _resolve(self, reference: str) -> Any:
        """The value a local reference points at, what stands for the schema where it is no path."""
        if reference != "#" and not reference.startswith("#/"):
            return self._elsewhere
        value = self._root
        for part in reference[1:].split("/", MAX_CHAIN + 1)[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(value, dict) and key in value:
                value = value[key]
            elif isinstance(value, list) and _is_index(key) and int(key) < len(value):
                value = value[int(key)]
            else:
                return self._elsewhere
        return value


def _is_index(key: str) -> bool:
    return key.isdecimal() and key.isascii() and len(key) < 10 and (key == "0" or key[0] != "0")
