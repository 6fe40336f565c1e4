"""A request as people write it where they work: one block of `name: value` lines in the text of an issue.

    ```remit
    kind: increase
    grant: acme/research
    limit: 500 usd per month
    reason: two more projects
    ```

Strict, because what is read here asks for money: one block, no name that is not known for its kind, none twice but `limit`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from remit.grants.edits import NewGrant
from remit.grants.limit_text import InvalidLimitError, parse_limit
from remit.grants.model import Limit, Problem, parent_path_of
from remit.grants.tree import Tree
from remit.kernel.durations import InvalidDurationError, parse_duration
from remit.kernel.moments import InvalidMomentError, parse_moment
from remit.kernel.money import InvalidAmountError, parse_usd
from remit.renewals import requests
from remit.renewals.model import Source
from remit.renewals.service import Asked

MAX_LINES: Final = 60
MAX_VALUE_CHARACTERS: Final = 1_000
_NAMES: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    # kind: names it needs beside grant and reason, names it may have
    "increase": (("limit",), ()),
    "renew": ((), ("limit", "expires", "for")),
    "grant": (("limit",), ("owner", "class", "expires")),
    "transfer": (("limit", "from"), ()),
    "break-glass": (("usd", "for"), ()),
}
_LINE = re.compile(r"([a-z]+):[ \t]*(.*)")
_FENCE = re.compile(r"(`{3,}|~{3,})[ \t]*remit|\{(code|noformat)(?::[^}]*)?\}")


class FormError(ValueError):
    """The text holds no request that can be read; the message is for whoever wrote it."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a block says. `values` has the names of its kind; `limits` as they stand there."""

    kind: str
    values: Mapping[str, str]
    limits: tuple[Limit, ...]

    @property
    def reason(self) -> str:
        return self.values["reason"]

    @property
    def about(self) -> str:
        """The path or id of the stored grant that this concerns: of a new grant, the one above."""
        path = self.values["grant"]
        return (parent_path_of(path) or path) if self.kind == "grant" else path

    def asked(self, tree: Tree, person: str, now: datetime, source: Source) -> Asked | Problem:
        """The request about the tree, made by a person. Raises FormError for a moment that cannot be read."""
        grant, limits = self.values["grant"], {(one.dimension, one.period): one.amount for one in self.limits}
        match self.kind:
            case "increase":
                return requests.increase(tree, grant, limits, source)
            case "renew":
                until = self._until(tree)
                return until if isinstance(until, Problem) else requests.renewal(tree, grant, until, limits, source)
            case "transfer":
                (part,) = self.limits
                move = (self.values["from"], grant, part.dimension, part.period, part.amount)
                return requests.transfer(tree, *move, source)
            case "break-glass":
                ends_at = now + _duration(self.values["for"])
                return requests.break_glass(tree, grant, _usd(self.values["usd"]), ends_at, source)
        return requests.new_grant(self._new(tree, person), source)

    def _until(self, tree: Tree) -> datetime | Problem:
        found = tree.find(self.values["grant"])
        if found is None:
            return requests.unknown(self.values["grant"])
        if "for" in self.values:
            return found.expires_at + _duration(self.values["for"])
        return _moment(self.values["expires"], found.time_zone)

    def _new(self, tree: Tree, person: str) -> NewGrant:
        parent = tree.find(self.about)
        zone, stated = "UTC" if parent is None else parent.time_zone, self.values
        grant_class = stated.get("class")
        if grant_class not in (None, "production", "experimentation"):
            raise FormError(f"`class: {grant_class}` is neither `production` nor `experimentation`")
        return NewGrant(
            path=stated["grant"],
            owner=stated.get("owner", person),
            limits=self.limits,
            grant_class=grant_class,  # type: ignore[arg-type] # compared above
            expires_at=_moment(stated["expires"], zone) if "expires" in stated else None,
        )


def read_form(text: str) -> Form:
    """The one request in a text. Raises FormError."""
    values: dict[str, list[str]] = {}
    for line in _block(text.splitlines()):
        if not line.strip():
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None or not found[2].strip() or not found[2].isprintable():
            raise FormError(f"the line `{_shown(line)}` is not of the form `name: value`")
        if len(found[2]) > MAX_VALUE_CHARACTERS:
            raise FormError(f"the value of `{found[1]}` is longer than {MAX_VALUE_CHARACTERS:,} characters")
        values.setdefault(found[1], []).append(found[2].strip())
    kinds = values.pop("kind", [])
    if len(kinds) != 1 or kinds[0] not in _NAMES:
        raise FormError(f"`kind` is stated once, and is one of {_listed(_NAMES)}")
    kind = kinds[0]
    needed, may = _NAMES[kind]
    known = ("grant", "reason", *needed, *may)
    for name, stated in values.items():
        if name not in known:
            raise FormError(f"`{_shown(name)}` is not known for `kind: {kind}`, which has {_listed(known)}")
        if len(stated) > 1 and (name != "limit" or kind == "transfer"):
            raise FormError(f"`{name}` is stated {len(stated)} times")
    if missing := [name for name in ("grant", "reason", *needed) if name not in values]:
        raise FormError(f"`kind: {kind}` needs {_listed(missing)} as well")
    if kind == "renew" and ("for" in values) == ("expires" in values):
        raise FormError("`kind: renew` says either `for`, such as `90d`, or `expires`")
    return Form(kind, {name: stated[0] for name, stated in values.items()}, _limits(values.get("limit", [])))


def _block(lines: Sequence[str]) -> list[str]:
    """The lines between the fences of the one block."""
    blocks: list[list[str]] = []
    end: str | None = None
    for line in lines:
        stripped = line.strip()
        if end is not None:
            if stripped == end:
                end = None
            else:
                blocks[-1].append(line)
        elif found := _FENCE.fullmatch(stripped):
            end = found[1] or f"{{{found[2]}}}"
            blocks.append([])
    if len(blocks) != 1 or end is not None:
        raise FormError("a request is one block that begins with a line ```` ```remit ```` and ends with ```` ``` ````")
    if len(blocks[0]) > MAX_LINES:
        raise FormError(f"a request has at most {MAX_LINES} lines")
    return blocks[0]


def _limits(texts: Sequence[str]) -> tuple[Limit, ...]:
    try:
        limits = tuple(parse_limit(text) for text in texts)
    except InvalidLimitError as error:
        raise FormError(str(error)) from None
    if len({(one.dimension, one.period) for one in limits}) != len(limits):
        raise FormError("one limit is stated twice")
    return limits


def _duration(text: str) -> timedelta:
    try:
        return timedelta(seconds=parse_duration(text))
    except InvalidDurationError as error:
        raise FormError(f"`for`: {error}") from None


def _usd(text: str) -> int:
    try:
        return parse_usd(text)
    except InvalidAmountError as error:
        raise FormError(f"`usd`: {error}") from None


def _moment(text: str, zone: str) -> datetime:
    try:
        return parse_moment(text, zone)
    except InvalidMomentError:
        raise FormError(
            f"`expires: {text}` is neither a date such as 2027-01-31 nor an instant with its offset"
        ) from None


def _listed(names: Sequence[str] | Mapping[str, object]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _shown(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text).strip()[:80]
