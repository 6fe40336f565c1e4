"""Rules that divide a month's cost between those who pay: what they say, and what they come to. Exact, to the nano-USD."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from remit.kernel.names import TAG_NAME
from remit.ledger.accounting import Bearer, Part, Share, Transfer
from remit.ledger.model import TIMES
from remit.ledger.months import month_text

Method = Literal["by_use", "even", "fixed"]
Measure = Literal["amount", "tokens", "requests"]
METHODS: Final = get_args(Method)
MEASURES: Final = get_args(Measure)
WHOLE_PPM: Final = 1_000_000
MAX_TARGETS: Final = 200
MAX_ENTRIES: Final = 5_000
_UNITS: Final[Mapping[str, str]] = {"amount": "nano-USD", "tokens": "tokens", "requests": "requests"}
_MAX_CONDITIONS = 16
_MAX_VALUES = 200
_MAX_TEXT = 200
_NO_TAGS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What a cost is divided by: a measure of other charges that meet conditions, by `grant` or by a tag's values."""

    measure: Measure
    only: Mapping[str, Sequence[str]]
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Who bears a stated part: a grant, under its scope's labels and these tags; without a grant, whoever bears it now.

    `ppm` is the share in parts per million of a fixed rule, None of an even one.
    """

    grant_id: str | None
    tags: Mapping[str, str] = field(default_factory=lambda: _NO_TAGS)
    ppm: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRule:
    """A rule as written. `source` are conditions as those of a report, times left out: values of one name are alternatives.

    `written_by` wrote this revision; `agreed_by` is who else posted it first, None where nobody did yet.
    """

    name: str
    revision: int
    owner: str
    description: str
    source: Mapping[str, Sequence[str]]
    method: Method
    use: Use | None = None
    targets: Sequence[Target] = ()
    is_retired: bool = False
    written_by: str = ""
    agreed_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a bearer was charged in a month, in nano-USD, transfers left out.

    `matched` meets the rule's conditions, `in_all` is all of it; `moved` is what this rule moved away before, `elsewhere` what
    other rules did.
    """

    bearer: Bearer
    matched: int
    in_all: int
    moved: int = 0
    elsewhere: int = 0

    @property
    def rest(self) -> int:
        """What is still to be moved: no more than is there, after what others moved."""
        if not self.elsewhere:
            return self.matched - self.moved
        there = self.in_all - self.elsewhere
        left = min(self.matched, max(there, 0)) if self.matched > 0 else max(self.matched, min(there, 0))
        return left - self.moved


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What was used of the measure by one who may have to pay."""

    bearer: Bearer
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthFacts:
    """What a rule is applied to, as of one moment. `labels` are those of the scopes of grants that the rule names."""

    month: date
    runs: int
    sources: Sequence[Source]
    used: Sequence[Used] = ()
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotDivided:
    """Why a rule comes to nothing that could be posted; or why it cannot be written."""

    code: str
    detail: str
    field: str | None = None


def divided(amount: int, weights: Sequence[int]) -> list[int]:
    """An amount in proportion to weights, by the largest remainder; of equal ones the first. The parts sum to it exactly.

    Weights are not negative and not all zero.
    """
    total = sum(weights)
    assert total > 0 and min(weights) >= 0, weights
    size = abs(amount)
    parts = [size * weight // total for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda at: (-(size * weights[at] % total), at))
    for at in by_remainder[: size - sum(parts)]:
        parts[at] += 1
    return parts if amount >= 0 else [-part for part in parts]


def transfer_of(rule: CostRule, facts: MonthFacts) -> Transfer | NotDivided | None:
    """What the rule still has to move in a month; None where there is nothing."""
    sources = [(one.bearer, one.rest) for one in sorted(facts.sources, key=lambda one: _key(one.bearer)) if one.rest]
    if not sources:
        return None
    parts = _parts(rule, facts, sources)
    if isinstance(parts, NotDivided):
        return parts
    if len(sources) + len(parts) > MAX_ENTRIES:
        detail = (
            f"{len(sources) + len(parts):,} entries are more than {MAX_ENTRIES:,}: narrow the source, or divide by less"
        )
        return NotDivided("too_many_parts", detail)
    month = month_text(facts.month)
    return Transfer(
        id=f"{rule.name}/{month}/{facts.runs + 1}",
        held_at=datetime(facts.month.year, facts.month.month, 1, tzinfo=UTC),
        sources=sources,
        parts=parts,
        rule=rule.name,
        method=rule.method,
        revision=rule.revision,
        month=month,
    )


def _parts(rule: CostRule, facts: MonthFacts, sources: Sequence[tuple[Bearer, int]]) -> list[Part] | NotDivided:
    amount = sum(rest for _, rest in sources)
    if rule.method == "by_use":
        assert rule.use is not None
        used = sorted((one for one in facts.used if one.amount), key=lambda one: _key(one.bearer))
        if not used:
            return NotDivided(
                "nothing_used", f"nobody used what `{rule.name}` divides by, so it can be divided by nothing"
            )
        if any(one.amount < 0 for one in used):
            worst = min(used, key=lambda one: one.amount)
            detail = f"`{worst.bearer.grant_id}` was charged less than nothing, which is no share: divide by tokens or requests"
            return NotDivided("use_negative", detail)
        unit = _UNITS[rule.use.measure]
        return _shared(amount, [(one.bearer, one.amount) for one in used], unit)
    unit = "parts" if rule.method == "even" else "parts per million"

    def weighted(source: Bearer | None) -> list[tuple[Bearer, int]]:
        bearers = [(_bearer(one, source, facts), 1 if one.ppm is None else one.ppm) for one in rule.targets]
        return sorted(bearers, key=lambda one: _key(one[0]))

    if all(target.grant_id is not None for target in rule.targets):
        return _shared(amount, weighted(None), unit)
    # Where a part stays with whoever bears it now, each of them is divided by itself.
    return [part for source, rest in sources for part in _shared(rest, weighted(source), unit)]


def _shared(amount: int, weighted: Sequence[tuple[Bearer, int]], unit: str) -> list[Part]:
    of = sum(weight for _, weight in weighted)
    shares = zip(weighted, divided(amount, [weight for _, weight in weighted]), strict=True)
    return [
        Part(bearer=bearer, amount_nanousd=part, share=Share(weight=weight, of=of, unit=unit))
        for (bearer, weight), part in shares
        if part
    ]


def _bearer(target: Target, source: Bearer | None, facts: MonthFacts) -> Bearer:
    if target.grant_id is not None:
        return Bearer(grant_id=target.grant_id, tags={**facts.labels[target.grant_id], **target.tags})
    assert source is not None
    return Bearer(grant_id=source.grant_id, tags={**source.tags, **target.tags})


def _key(bearer: Bearer) -> tuple[Any, ...]:
    return (bearer.grant_id, tuple(sorted(bearer.tags.items())))


# What a rule may say ---------------------------------------------------------------------------------------------


def rule_problems(rule: CostRule) -> list[NotDivided]:
    """What is wrong with a rule as it is to be written; whether its grants and people exist is looked up elsewhere."""
    found = []
    if not TAG_NAME.fullmatch(rule.name):
        found.append(NotDivided("name_invalid", f"`{rule.name[:80]}` does not match `{TAG_NAME.pattern}`", "name"))
    if not 0 < len(rule.description.strip()) <= 500 or not rule.description.isprintable():
        found.append(
            NotDivided("description_invalid", "a description has 1 to 500 printable characters", "description")
        )
    if not rule.source:
        found.append(NotDivided("conditions_missing", "a rule says what it divides", "source"))
    found += _condition_problems(rule.source, "source")
    if rule.method == "by_use":
        if rule.use is None or rule.targets:
            found.append(
                NotDivided("method_invalid", "by_use divides by what others used, and names no targets", "use")
            )
        else:
            found += _condition_problems(rule.use.only, "use")
            if rule.use.by != "grant" and not TAG_NAME.fullmatch(rule.use.by):
                found.append(NotDivided("by_invalid", f"`{rule.use.by[:80]}` is neither `grant` nor a tag", "use"))
        return found
    if rule.use is not None or not 0 < len(rule.targets) <= MAX_TARGETS:
        detail = f"{rule.method} names 1 to {MAX_TARGETS} targets, and nothing to divide by"
        return [*found, NotDivided("method_invalid", detail, "targets")]
    return found + _target_problems(rule)


def _target_problems(rule: CostRule) -> list[NotDivided]:
    found = []
    if len({_key(Bearer(grant_id=one.grant_id or "", tags=one.tags)) for one in rule.targets}) < len(rule.targets):
        found.append(NotDivided("target_repeated", "a target stands twice", "targets"))
    if any(one.grant_id is None and not one.tags for one in rule.targets):
        found.append(
            NotDivided("target_invalid", "a target without a grant has tags: else nothing would move", "targets")
        )
    shares = [one.ppm for one in rule.targets]
    if rule.method == "even" and any(one is not None for one in shares):
        found.append(NotDivided("shares_invalid", "targets of an even rule state no shares", "targets"))
    if rule.method == "fixed":
        stated = [one for one in shares if one is not None and one > 0]
        if len(stated) < len(shares) or sum(stated) != WHOLE_PPM:
            detail = f"the shares of a fixed rule are above 0 and sum to {WHOLE_PPM:,} parts per million, not {sum(stated):,}"
            found.append(NotDivided("shares_invalid", detail, "targets"))
    return found


def _condition_problems(only: Mapping[str, Collection[str]], where: str) -> list[NotDivided]:
    found = []
    if len(only) > _MAX_CONDITIONS or sum(map(len, only.values())) > _MAX_VALUES:
        detail = f"conditions name at most {_MAX_CONDITIONS} dimensions or tags, with {_MAX_VALUES} values in all"
        found.append(NotDivided("conditions_invalid", detail, where))
    for name, values in only.items():
        if not TAG_NAME.fullmatch(name):
            detail = f"`{name[:80]}` is neither a dimension nor the name of a tag"
            found.append(NotDivided("conditions_invalid", detail, where))
        elif name in TIMES:
            found.append(NotDivided("conditions_invalid", f"`{name}` is a time: a rule is applied to a month", where))
        elif name == "kind" and "transfer" in values:
            found.append(NotDivided("conditions_invalid", "what was moved is not divided again", where))
        elif not values or any(len(one) > _MAX_TEXT or not one.isprintable() for one in values):
            found.append(NotDivided("conditions_invalid", f"`{name}` has no values, or one that cannot be", where))
    return found
