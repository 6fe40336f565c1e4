"""Bytes of a JSON schema as if every `$ref` were written out in place.

Vendors do not publish whether they inline references when they render a schema as text; counting the inlined size is
the sound reading, and it is computed without building the text, so nested references cannot blow up memory.
"""

import json
from typing import Any

import msgspec

_HUGE = 1 << 40
"""Sizes stop growing here: far beyond what any limit admits, and safely within 64 bits when priced."""


def expanded_bytes(value: Any, schema: Any) -> int:
    """UTF-8 bytes of a value as compact JSON, each local `$ref` in it replaced by its target in `schema`.

    `schema` is the part of the value that references start at. A recursive reference is counted once around.
    """
    text = _compact(value)
    size = len(text)
    if b'"$ref"' not in text:
        return size
    try:
        return min(_HUGE, size + _References(schema).added(value, frozenset()))
    except RecursionError:
        return _HUGE


def _compact(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except OverflowError:  # an integer beyond 64 bits
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


class _References:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._sizes: dict[str, int] = {}

    def added(self, value: Any, open_references: frozenset[str]) -> int:
        """Bytes that inlining adds below a value."""
        total = 0
        stack = [value]
        while stack:
            item = stack.pop()
            if isinstance(item, dict):
                reference = item.get("$ref")
                if isinstance(reference, str):
                    total += self._size(reference, open_references)
                stack += item.values()
            elif isinstance(item, list):
                stack += item
            if total >= _HUGE:
                return _HUGE
        return total

    def _size(self, reference: str, open_references: frozenset[str]) -> int:
        if reference in open_references:
            return 0
        if reference not in self._sizes:
            target = self._target(reference)
            # A cycle makes the size depend on where it is entered; the first way in is remembered.
            below = self.added(target, open_references | {reference})
            self._sizes[reference] = min(_HUGE, len(_compact(target)) + below)
        return self._sizes[reference]

    def _target(self, reference: str) -> Any:
        if reference != "#" and not reference.startswith("#/"):
            return None
        value = self._root
        for part in reference[1:].split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(value, dict):
                value = value.get(key)
            elif isinstance(value, list):
                # Only the one spelling of each index, so that aliases cannot make the same target count often.
                value = next((item for index, item in enumerate(value) if str(index) == key), None)
            else:
                return None
        return value
