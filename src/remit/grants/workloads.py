"""What a workload's token must say to be exchanged: patterns over claims, and labels taken from them. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from remit.kernel.names import TAG_NAME

MAX_LABEL = 128
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class ClaimPattern:
    """An exact text, or one in which each `*` stands for any characters, none included; nothing else is special."""

    text: str

    def matches(self, value: str) -> bool:
        """Whether the whole value is covered. Takes time in proportion to both lengths at worst, never more."""
        first, *rest = self.text.split("*")
        if not rest:
            return value == first
        *middle, last = rest
        if not value.startswith(first) or len(value) < len(first) + len(last) or not value.endswith(last):
            return False
        at, end = len(first), len(value) - len(last)
        for part in middle:
            # The leftmost place leaves the most for what follows, so no other one has to be tried.
            found = value.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True

    @property
    def fixed_start(self) -> str:
        """What every value that matches begins with."""
        return self.text.partition("*")[0]

    @property
    def says_something(self) -> bool:
        """Whether a letter or digit of the value is fixed."""
        return any(letter.isalnum() for letter in self.text)


@dataclass(frozen=True, slots=True)
class ClaimRule:
    """One claim, and the patterns of which any must match it."""

    claim: str
    patterns: tuple[ClaimPattern, ...]

    def admits(self, claims: Mapping[str, Any]) -> bool:
        """Whether the claim is there and it, or any item of it where it is a list, matches."""
        value = claims.get(self.claim)
        texts = [claim_text(one) for one in value] if isinstance(value, list) else [claim_text(value)]
        return any(text is not None and pattern.matches(text) for text in texts for pattern in self.patterns)


def claim_text(value: Any) -> str | None:
    """A claim's value as patterns see it: texts as they are, whole numbers in digits, `true` and `false`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return value if isinstance(value, str) else None


def labels_of(claims: Mapping[str, Any], labels_from: Mapping[str, str]) -> dict[str, str] | str:
    """The labels taken from claims; a text instead names the claim that cannot be a label."""
    labels = {}
    for label, claim in labels_from.items():
        text = claim_text(claims.get(claim))
        if text is None or not is_label_value(text):
            return f"the claim `{claim}` cannot be the label `{label}`"
        labels[label] = text
    return labels


def is_label_value(text: str) -> bool:
    """1 to 128 characters, none of them a control character."""
    return 0 < len(text) <= MAX_LABEL and bool(text.strip()) and _CONTROL.search(text) is None


def is_label_name(text: str) -> bool:
    """Whether it has the form of a tag's name."""
    return TAG_NAME.fullmatch(text) is not None
