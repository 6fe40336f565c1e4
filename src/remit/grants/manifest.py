"""The declarative grants file, as loaded from YAML, read strictly into typed nodes.

The format is described in docs/reference/grants-file.md. Nothing is guessed: an unknown key, a repeated path or an
amount that is not exact is a problem with its place in the document (`grants.acme.limits[0].usd`).
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from difflib import get_close_matches
from typing import Any, Final, TypeVar, cast

from remit.grants.fields import path_problem
from remit.grants.model import (
    DIMENSIONS,
    GRANT_CLASSES,
    LIMIT_PERIODS,
    MAX_DEPTH,
    SCOPE_FIELDS,
    Boundary,
    Delegation,
    Envelope,
    Limit,
    OnExhausted,
    Overdraft,
    Problem,
    Rate,
    Renewal,
    Scope,
    Shape,
    parent_path_of,
)
from remit.kernel.decisions import Dimension, GrantClass
from remit.kernel.money import InvalidAmountError, parse_usd
from remit.kernel.periods import PeriodKind, in_every_zone

VERSION: Final = 1
_MAX_GRANTS: Final = 10_000  # aliases can make a short document mean a huge one
_MAX_PROBLEMS: Final = 100

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestGrant:
    """One node of the file. `None` in class, time zone, start and expiry is left to the parent or the stored grant."""

    path: str
    owner: str
    grant_class: GrantClass | None = None
    time_zone: str | None = None
    starts: date | datetime | None = None
    expires: date | datetime | None = None
    scope: Scope = Scope()
    limits: tuple[Limit, ...] = ()
    rate: Rate = Rate()
    shape: Shape = Shape()
    data_classes: tuple[str, ...] | None = None
    required_tags: tuple[str, ...] = ()
    delegation: Delegation = Delegation()
    on_exhausted: OnExhausted = OnExhausted()
    overdraft: Overdraft | None = None
    renewal: Renewal = Renewal()


@dataclass(frozen=True, slots=True)
class Manifest:
    """All nodes of a file, parents before children. `tops` are the paths that the file speaks for, with all below."""

    grants: tuple[ManifestGrant, ...]
    tops: tuple[str, ...]


def parse_manifest(document: object) -> Manifest | list[Problem]:
    """The manifest of a loaded document, or everything that is wrong with it (at most 100 problems)."""
    reader = _Reader()
    top = reader.mapping(document, "", {"version", "grants"})
    if top is not None and top.get("version", VERSION) != VERSION:
        reader.wrong("manifest_version", "version", f"`version` is {top['version']!r}, only {VERSION} is known")
    roots = reader.mapping(top.get("grants"), "grants", None) if top is not None else None
    for path, node in (roots or {}).items():
        reader.grant(path, node, f"grants.{path}")
    paths = [one.path for one in reader.grants]
    if reader.problems:
        return reader.problems
    tops = tuple(path for path in roots or {} if parent_path_of(path) not in paths)
    return Manifest(tuple(sorted(reader.grants, key=lambda one: one.path.split("/"))), tops)


class _Reader:
    """Walks the document and collects nodes and problems."""

    def __init__(self) -> None:
        self.grants: list[ManifestGrant] = []
        self.problems: list[Problem] = []
        self._paths: set[str] = set()
        self._full = False

    def wrong(self, code: str, place: str, sentence: str) -> None:
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(Problem(code=code, path="", field=place, detail=sentence))

    def mapping(self, value: object, place: str, known: set[str] | None) -> dict[str, Any] | None:
        """A mapping whose keys are texts, and known ones if they are given."""
        where = f"`{place}`" if place else "the document"
        if not isinstance(value, Mapping):
            self.wrong("manifest_type", place, f"{where} is {_kind(value)}, not a mapping")
            return None
        for key in value:
            at = f"{place}.{key}" if place else str(key)
            if not isinstance(key, str):
                self.wrong("manifest_type", at, f"the key `{key}` in {where} is {_kind(key)}, not text: quote it")
            elif known is not None and key not in known:
                near = get_close_matches(key, sorted(known), n=1)
                hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(sorted(known))}"
                self.wrong("manifest_unknown_key", at, f"`{at}` is not known; {hint}")
        return {key: item for key, item in value.items() if isinstance(key, str)}

    def grant(self, path: str, value: object, place: str) -> None:
        """One node and its children."""
        if len(self._paths) >= _MAX_GRANTS:
            if not self._full:
                self.wrong("manifest_too_large", place, f"the file has more than {_MAX_GRANTS:,} grants")
            self._full = True
            return
        wrong = path_problem(path)
        if wrong or path in self._paths:
            self.wrong("manifest_path", place, wrong or f"`{path}` stands twice in the file")
            return
        self._paths.add(path)
        node = self.mapping(value, place, set(_FIELDS) | {"children"})
        if node is None:
            return
        if "owner" not in node:
            self.wrong("manifest_missing", f"{place}.owner", f"`{place}` has no owner")
        read = {
            target: parse(self, node[key], f"{place}.{key}") for key, (target, parse) in _FIELDS.items() if key in node
        }
        self.grants.append(ManifestGrant(path=path, **{"owner": "", **read}))
        children = self.mapping(node["children"], f"{place}.children", None) if "children" in node else {}
        for segment, child in (children or {}).items():
            at = f"{place}.children.{segment}"
            if "/" in segment:
                self.wrong("manifest_path", at, f"`{segment}` is a path; a child is keyed by one segment")
            elif path.count("/") + 1 < MAX_DEPTH:
                self.grant(f"{path}/{segment}", child, at)
            else:
                self.wrong("manifest_path", at, f"the path has more than {MAX_DEPTH} levels")

    def text(self, value: object, place: str) -> str:
        if isinstance(value, str):
            return value
        self.wrong("manifest_type", place, f"`{place}` is {_kind(value)}, not text")
        return ""

    def one_of(self, value: object, place: str, known: tuple[str, ...]) -> str:
        if isinstance(value, str) and value in known:
            return value
        self.wrong("manifest_value", place, f"`{place}` is {_shown(value)}; known are {', '.join(known)}")
        return known[0]

    def count(self, value: object, place: str) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        self.wrong("manifest_type", place, f"`{place}` is {_shown(value)}, not a whole number from 0")
        return 0

    def count_or_none(self, value: object, place: str) -> int | None:
        return None if value is None else self.count(value, place)

    def truth(self, value: object, place: str) -> bool:
        if isinstance(value, bool):
            return value
        self.wrong("manifest_type", place, f"`{place}` is {_shown(value)}, not true or false")
        return False

    def texts(self, value: object, place: str) -> tuple[str, ...]:
        if isinstance(value, list):
            return tuple(self.text(item, f"{place}[{index}]") for index, item in enumerate(value))
        self.wrong("manifest_type", place, f"`{place}` is {_kind(value)}, not a list")
        return ()

    def counts(self, value: object, place: str) -> tuple[int, ...]:
        if isinstance(value, list):
            return tuple(self.count(item, f"{place}[{index}]") for index, item in enumerate(value))
        self.wrong("manifest_type", place, f"`{place}` is {_kind(value)}, not a list")
        return ()

    def usd(self, value: object, place: str) -> int:
        """Nano-USD of a quoted decimal or a whole number of dollars. A YAML float has lost its last digits already."""
        if isinstance(value, float):
            self.wrong("manifest_type", place, f'`{place}` is a binary fraction; quote the amount, such as "{value!r}"')
            return 0
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            self.wrong("manifest_type", place, f"`{place}` is {_kind(value)}, not an amount of dollars")
            return 0
        try:
            return parse_usd(value)
        except InvalidAmountError as error:
            self.wrong("manifest_value", place, f"`{place}`: {error}")
            return 0

    def moment(self, value: object, place: str) -> date | datetime | None:
        """A date (the start of that local day) or an instant with an offset."""
        if isinstance(value, str):
            with suppress(ValueError):
                value = date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
        if isinstance(value, datetime) and value.utcoffset() is None:
            self.wrong("manifest_value", place, f"`{place}` is a time without an offset; write a date, or add `Z`")
        elif isinstance(value, date) and not in_every_zone(
            value if isinstance(value, datetime) else datetime(value.year, value.month, value.day, tzinfo=UTC)
        ):
            self.wrong("manifest_value", place, f"`{place}` is {value.isoformat()}, which is not a time in every zone")
        elif isinstance(value, date):
            return value
        else:
            self.wrong("manifest_type", place, f"`{place}` is {_shown(value)}, neither a date nor an instant")
        return None

    def limits(self, value: object, place: str) -> tuple[Limit, ...]:
        if not isinstance(value, list):
            self.wrong("manifest_type", place, f"`{place}` is {_kind(value)}, not a list")
            return ()
        found = (self._limit(item, f"{place}[{index}]") for index, item in enumerate(value))
        return tuple(limit for limit in found if limit is not None)

    def _limit(self, value: object, place: str) -> Limit | None:
        item = self.mapping(value, place, {*DIMENSIONS, "per"})
        if item is None:
            return None
        stated = [name for name in DIMENSIONS if name in item]
        if len(stated) != 1 or "per" not in item:
            sentence = f"`{place}` needs exactly one of {', '.join(DIMENSIONS)}, and `per`"
            self.wrong("manifest_missing", place, sentence)
            return None
        at = f"{place}.{stated[0]}"
        amount = self.usd(item["usd"], at) if stated[0] == "usd" else self.count(item[stated[0]], at)
        period = self.one_of(item["per"], f"{place}.per", LIMIT_PERIODS)
        return Limit(cast(Dimension, stated[0]), amount, cast(PeriodKind, period))

    def record(self, value: object, place: str, make: Callable[..., _T], parts: Mapping[str, "_Parse"]) -> _T:
        """A mapping read field by field into a type whose fields all have defaults."""
        item = self.mapping(value, place, set(parts)) or {}
        return make(
            **{name: parse(self, item[name], f"{place}.{name}") for name, parse in parts.items() if name in item}
        )


_Parse = Callable[[_Reader, Any, str], Any]


def _record(make: Callable[..., Any], parts: Mapping[str, _Parse]) -> _Parse:
    return lambda reader, value, place: reader.record(value, place, make, parts)


def _grant_class(reader: _Reader, value: object, place: str) -> str:
    return reader.one_of(value, place, GRANT_CLASSES)


def _overdraft(reader: _Reader, value: object, place: str) -> Overdraft | None:
    item = reader.mapping(value, place, {"usd"})
    if item is not None and "usd" not in item:
        reader.wrong("manifest_missing", place, f"`{place}` has no usd")
    return Overdraft(max_nanousd=reader.usd(item["usd"], f"{place}.usd")) if item and "usd" in item else None


def _boundary(reader: _Reader, value: object, place: str) -> Boundary:
    return reader.record(value, place, _make_boundary, _BOUNDARY)


def _make_boundary(max_usd: int | None = None, **parts: Any) -> Boundary:
    return Boundary(max_nanousd=max_usd, **parts)


def _make_envelope(max_usd: int = 0, **parts: Any) -> Envelope:
    return Envelope(max_nanousd=max_usd, **parts)


def _classes(reader: _Reader, value: object, place: str) -> tuple[str, ...]:
    return tuple(reader.one_of(one, place, GRANT_CLASSES) for one in reader.texts(value, place))


_BOUNDARY: Final[dict[str, _Parse]] = {
    "max_share_percent": _Reader.count_or_none,
    "max_usd": _Reader.usd,
    "classes": _classes,
    "models": _Reader.texts,
    "owners": _Reader.texts,
    "grace_hours": _Reader.count,
    "auto_approve": _record(
        _make_envelope,
        {
            "max_increase_percent": _Reader.count,
            "max_usd": _Reader.usd,
            "max_renewals": _Reader.count,
            "max_term_days": _Reader.count,
        },
    ),
}

_FIELDS: Final[dict[str, tuple[str, _Parse]]] = {
    "owner": ("owner", _Reader.text),
    "class": ("grant_class", _grant_class),
    "time_zone": ("time_zone", _Reader.text),
    "starts": ("starts", _Reader.moment),
    "expires": ("expires", _Reader.moment),
    "scope": ("scope", _record(Scope, dict.fromkeys(SCOPE_FIELDS, _Reader.text))),
    "limits": ("limits", _Reader.limits),
    "rate": ("rate", _record(Rate, dict.fromkeys(("rpm", "tpm", "concurrency"), _Reader.count_or_none))),
    "shape": (
        "shape",
        _record(
            Shape,
            {
                "models": _Reader.texts,
                "vendors": _Reader.texts,
                "surfaces": _Reader.texts,
                "max_input_tokens": _Reader.count_or_none,
                "max_output_tokens": _Reader.count_or_none,
                "tools": _Reader.truth,
            },
        ),
    ),
    "data_classes": ("data_classes", _Reader.texts),
    "required_tags": ("required_tags", _Reader.texts),
    "delegation": (
        "delegation",
        _record(
            Delegation,
            {
                "allowed": _Reader.truth,
                "max_depth": _Reader.count_or_none,
                "overcommit_percent": _Reader.count,
                "max_term_days": _Reader.count_or_none,
                "boundary": _boundary,
            },
        ),
    ),
    "on_exhausted": (
        "on_exhausted",
        _record(
            OnExhausted,
            {"pace_from_percent": _Reader.count_or_none, "page_percents": _Reader.counts, "webhook": _Reader.text},
        ),
    ),
    "overdraft": ("overdraft", _overdraft),
    "renewal": ("renewal", _record(Renewal, {"lead_time_days": _Reader.count, "auto_tier": _Reader.text})),
}


def _kind(value: object) -> str:
    """What a value is, in the words of the file."""
    names: dict[type, str] = {bool: "a truth value", int: "a number", float: "a number", str: "text", list: "a list"}
    if value is None:
        return "empty"
    if isinstance(value, Mapping):
        return "a mapping"
    return names.get(type(value), "a date" if isinstance(value, date) else "something else")


def _shown(value: object) -> str:
    return f"`{value}`" if isinstance(value, str | int | float) else _kind(value)
