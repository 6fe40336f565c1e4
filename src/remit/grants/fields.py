"""Is a grant well formed on its own? Everything that can be judged without another grant."""

import re
from collections.abc import Iterator
from typing import Any, Final
from zoneinfo import ZoneInfo

from remit.grants.model import (
    AUTO_TIERS,
    DIMENSIONS,
    GRANT_CLASSES,
    LIMIT_PERIODS,
    MAX_DEPTH,
    MAX_PATH_LENGTH,
    STATUSES,
    Boundary,
    Envelope,
    Grant,
    Problem,
)
from remit.grants.words import printable
from remit.kernel.ids import is_id
from remit.kernel.money import MAX_NANOUSD
from remit.kernel.names import PERSON_NAME, TAG_NAME

_SEGMENT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+-]{0,199}\*?|\*")
_WEBHOOK = re.compile(r"https?://[^\s]{1,2000}")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,30}(/[A-Za-z0-9_+-]{1,30}){0,2}")
# Names that tz databases carry but that mean the machine's own zone, leap-second time or nothing at all.
_UNUSABLE_ZONES: Final = ("localtime", "posixrules", "Factory", "posix/", "right/")
# Any address, all addresses of one domain, or one address.
_OWNERS = re.compile(rf"\*(@[A-Za-z0-9][A-Za-z0-9.-]{{0,252}})?|{PERSON_NAME.pattern}")
_MAX_GRACE_HOURS: Final = 24 * 30
_MAX_ITEMS: Final = 200
_MAX_DAYS: Final = 36_525
_MAX_OVERCOMMIT_PERCENT: Final = 10_000

_Found = tuple[str, str, str]  # code, field, first half of the sentence


def field_problems(grant: Grant) -> list[Problem]:
    """What is malformed or contradicts itself in this grant; empty when it is well formed."""
    checks = (_path, _who_and_what, _times, _limits, _rate, _shape, _names, _delegation, _class_terms, _renewal)
    return [
        Problem(code=code, path=grant.path, field=field, detail=f"{detail} in `{grant.path}`")
        for check in checks
        for code, field, detail in check(grant)
    ]


def path_problem(path: str) -> str | None:
    """What is wrong with a path, as the middle of a sentence; `None` when it is well formed."""
    if len(path) > MAX_PATH_LENGTH:
        return f"the path has {len(path)} characters, at most {MAX_PATH_LENGTH} are allowed"
    segments = path.split("/")
    if len(segments) > MAX_DEPTH:
        return f"the path has {len(segments)} levels, at most {MAX_DEPTH} are allowed"
    for segment in segments:
        if not _SEGMENT.fullmatch(segment):
            return f"`{segment}` is not a path segment: lower-case letters, digits, `_` and `-`, at most 63"
    if is_id(segments[0], "grant"):
        return f"`{segments[0]}` has the form of a grant id and cannot be a path"
    return None


def zone_problem(name: object) -> str | None:
    """What is wrong with a time zone name; `None` for a usable IANA name."""
    if not isinstance(name, str) or not _ZONE.fullmatch(name) or name.startswith(_UNUSABLE_ZONES):
        return f"`{name}` is not the IANA name of a time zone"
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return f"`{name}` is not a known time zone"
    return None


def _is_count(value: Any, most: int = MAX_NANOUSD) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _path(grant: Grant) -> Iterator[_Found]:
    wrong = path_problem(grant.path)
    if wrong:
        yield "path_invalid", "path", wrong


def _who_and_what(grant: Grant) -> Iterator[_Found]:
    if not PERSON_NAME.fullmatch(grant.owner) or not grant.owner.isprintable():
        yield "owner_invalid", "owner", f"the owner `{printable(grant.owner)}` is not an e-mail address of a person"
    if grant.grant_class not in GRANT_CLASSES:
        yield "class_invalid", "class", f"the class `{grant.grant_class}` is neither production nor experimentation"
    if grant.status not in STATUSES:
        yield "status_invalid", "status", f"the status `{grant.status}` is not known"
    wrong = zone_problem(grant.time_zone)
    if wrong:
        yield "time_zone_invalid", "time_zone", wrong
    for name, value in grant.scope.labels().items():
        if not _LABEL.fullmatch(value):
            yield "scope_invalid", f"scope.{name}", f"`{value}` is not a label for {name}"


def _times(grant: Grant) -> Iterator[_Found]:
    for name, instant in (("starts_at", grant.starts_at), ("expires_at", grant.expires_at)):
        if instant.utcoffset() is None:
            yield "instant_invalid", name, f"`{name}` is not an instant with an offset"
            return
    if grant.expires_at <= grant.starts_at:
        yield "expires_before_start", "expires_at", "the grant expires before it starts"
    if not grant.starts_at.year >= 1970 or grant.expires_at.year > 9000:
        yield "instant_invalid", "expires_at", "an instant lies outside the years 1970 to 9000"


def _limits(grant: Grant) -> Iterator[_Found]:
    seen = set()
    escrow = grant.overdraft.max_nanousd if grant.overdraft and _is_count(grant.overdraft.max_nanousd) else 0
    for limit in grant.limits:
        name = f"limits.{limit.dimension}/{limit.period}"
        if limit.dimension not in DIMENSIONS:
            yield "limit_invalid", name, f"`{limit.dimension}` is not a dimension"
        elif limit.period not in LIMIT_PERIODS:
            yield "limit_invalid", name, f"`{limit.period}` is not a period of a limit"
        elif not _is_count(limit.amount) or limit.amount + escrow > MAX_NANOUSD:
            yield "limit_invalid", name, f"the amount {limit.amount} is not an integer from 0 to 2^63 - 1"
        elif (limit.dimension, limit.period) in seen:
            yield "limit_repeated", name, f"{limit.dimension} per {limit.period} is limited twice"
        seen.add((limit.dimension, limit.period))


def _rate(grant: Grant) -> Iterator[_Found]:
    for name in ("rpm", "tpm", "concurrency"):
        value = getattr(grant.rate, name)
        if value is not None and not _is_count(value):
            yield "rate_invalid", f"rate.{name}", f"the rate {name} {value} is not a whole number from 0"


def _shape(grant: Grant) -> Iterator[_Found]:
    shape = grant.shape
    for name, form in (("models", _MODEL), ("vendors", _NAME), ("surfaces", _NAME)):
        yield from _items(f"shape.{name}", getattr(shape, name), form)
    for name in ("max_input_tokens", "max_output_tokens"):
        value = getattr(shape, name)
        if value is not None and not _is_count(value):
            yield "shape_invalid", f"shape.{name}", f"{name} {value} is not a whole number from 0"
    if shape.tools not in (None, True, False):
        yield "shape_invalid", "shape.tools", "tools is neither true nor false"


def _names(grant: Grant) -> Iterator[_Found]:
    yield from _items("data_classes", grant.data_classes, _NAME)
    yield from _items("required_tags", grant.required_tags, TAG_NAME)


def _items(field: str, items: tuple[str, ...] | None, form: re.Pattern[str]) -> Iterator[_Found]:
    if items is None:
        return
    if len(items) > _MAX_ITEMS:
        yield "too_many_items", field, f"{field} has {len(items)} items, at most {_MAX_ITEMS} are allowed"
    if len(set(items)) != len(items):
        yield "item_repeated", field, f"{field} names an item twice"
    for item in items:
        if not form.fullmatch(item):
            yield "item_invalid", field, f"`{item}` is not a valid item of {field}"


def _delegation(grant: Grant) -> Iterator[_Found]:
    terms = grant.delegation
    bounds = (
        ("max_depth", MAX_DEPTH, True),
        ("overcommit_percent", _MAX_OVERCOMMIT_PERCENT, False),
        ("max_term_days", _MAX_DAYS, True),
    )
    for name, most, optional in bounds:
        value = getattr(terms, name)
        if not (value is None and optional) and not _is_count(value, most):
            yield "delegation_invalid", f"delegation.{name}", f"{name} {value} is not a whole number from 0 to {most}"
    if terms.boundary is not None:
        yield from _boundary(terms.boundary)


def _boundary(boundary: Boundary) -> Iterator[_Found]:
    """Every part in its range; what is absent bounds nothing, an empty list lets nothing be handed out."""
    field = "delegation.boundary"
    yield from _items(f"{field}.models", boundary.models, _MODEL)
    yield from _items(f"{field}.owners", boundary.owners, _OWNERS)
    yield from _items(f"{field}.classes", boundary.classes, _NAME)
    for one in boundary.classes or ():
        if one not in GRANT_CLASSES:
            yield "boundary_invalid", f"{field}.classes", f"`{one}` is not a class"
    envelope = boundary.auto_approve or Envelope()
    bounds = (
        ("max_share_percent", boundary.max_share_percent, 100),
        ("max_nanousd", boundary.max_nanousd, MAX_NANOUSD),
        ("grace_hours", boundary.grace_hours, _MAX_GRACE_HOURS),
        ("auto_approve.max_increase_percent", envelope.max_increase_percent, _MAX_OVERCOMMIT_PERCENT),
        ("auto_approve.max_nanousd", envelope.max_nanousd, MAX_NANOUSD),
        ("auto_approve.max_renewals", envelope.max_renewals, 1_000),
        ("auto_approve.max_term_days", envelope.max_term_days, _MAX_DAYS),
    )
    for name, value, most in bounds:
        optional = name in ("max_share_percent", "max_nanousd")
        if not (value is None and optional) and not _is_count(value, most):
            yield "boundary_invalid", f"{field}.{name}", f"{name} {value} is not a whole number from 0 to {most}"


def _class_terms(grant: Grant) -> Iterator[_Found]:
    """Overdraft belongs to production, pacing to experimentation."""
    if grant.overdraft is not None:
        if grant.grant_class != "production":
            yield "overdraft_needs_production", "overdraft", "an overdraft stands, which is for production only,"
        if not _is_count(grant.overdraft.max_nanousd):
            yield "overdraft_invalid", "overdraft", "the overdraft is not an integer of nano-USD from 0"
        if not any(limit.dimension == "usd" for limit in grant.limits):
            yield "overdraft_without_limit", "overdraft", "an overdraft stands without a usd limit to extend"
    terms = grant.on_exhausted
    if terms.pace_from_percent is not None:
        if grant.grant_class != "experimentation":
            yield (
                "pacing_needs_experimentation",
                "on_exhausted.pace_from_percent",
                "pacing stands, which is for experimentation only,",
            )
        if not _is_count(terms.pace_from_percent, 99):
            yield "on_exhausted_invalid", "on_exhausted.pace_from_percent", "pacing does not start at 0 to 99 percent"
    percents = terms.page_percents
    if not all(_is_count(one, 100) and one > 0 for one in percents) or sorted(set(percents)) != list(percents):
        yield "on_exhausted_invalid", "on_exhausted.page_percents", "paging percents do not rise from 1 to 100"
    if terms.webhook is not None and not _WEBHOOK.fullmatch(terms.webhook):
        yield "on_exhausted_invalid", "on_exhausted.webhook", "the webhook is not an http or https address"


def _renewal(grant: Grant) -> Iterator[_Found]:
    if not _is_count(grant.renewal.lead_time_days, _MAX_DAYS):
        yield "renewal_invalid", "renewal.lead_time_days", "the lead time is not a whole number of days"
    if grant.renewal.auto_tier is not None and grant.renewal.auto_tier not in AUTO_TIERS:
        tiers = ", ".join(AUTO_TIERS)
        yield "renewal_invalid", "renewal.auto_tier", f"`{grant.renewal.auto_tier}` is not one of the tiers {tiers}"
