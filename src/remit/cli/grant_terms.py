"""The terms of a grant as options, shared by `grant create` and `grant edit`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal

from cyclopts import Group, Parameter

from remit.cli.codes import CommandError
from remit.cli.values import parse_limit, parse_limit_key, parse_moment, parse_names
from remit.grants.edits import NewGrant
from remit.grants.model import Boundary, Envelope, Grant, Limit, Overdraft
from remit.kernel.decisions import GrantClass
from remit.kernel.money import InvalidAmountError, parse_usd

_MONEY = Group("Limits and rates", sort_key=2)
_SCOPE = Group("Scope", sort_key=3)
_SHAPE = Group("What requests may be", sort_key=4)
_HAND_ON = Group("Delegation and renewal", sort_key=5)
_AT_CAP = Group("Near and at the cap", sort_key=6)
_BOUND = Group("Boundary: the most that may be handed out below", sort_key=5.5)

# Option name to the model field it belongs to and the name in it; a name of None is the whole field.
_PARTS: Final[Mapping[str, tuple[str, str | None]]] = {
    "team": ("scope", "team"),
    "feature": ("scope", "feature"),
    "tenant": ("scope", "tenant"),
    "environment": ("scope", "environment"),
    "experiment": ("scope", "experiment"),
    "rpm": ("rate", "rpm"),
    "tpm": ("rate", "tpm"),
    "concurrency": ("rate", "concurrency"),
    "models": ("shape", "models"),
    "vendors": ("shape", "vendors"),
    "surfaces": ("shape", "surfaces"),
    "max_input_tokens": ("shape", "max_input_tokens"),
    "max_output_tokens": ("shape", "max_output_tokens"),
    "tools": ("shape", "tools"),
    "data_classes": ("data_classes", None),
    "required_tags": ("required_tags", None),
    "delegation": ("delegation", "allowed"),
    "max_depth": ("delegation", "max_depth"),
    "overcommit_percent": ("delegation", "overcommit_percent"),
    "max_term_days": ("delegation", "max_term_days"),
    "boundary_share_percent": ("delegation", "boundary.max_share_percent"),
    "boundary_usd": ("delegation", "boundary.max_nanousd"),
    "boundary_classes": ("delegation", "boundary.classes"),
    "boundary_models": ("delegation", "boundary.models"),
    "boundary_owners": ("delegation", "boundary.owners"),
    "grace_hours": ("delegation", "boundary.grace_hours"),
    "envelope_increase_percent": ("delegation", "boundary.auto_approve.max_increase_percent"),
    "envelope_usd": ("delegation", "boundary.auto_approve.max_nanousd"),
    "envelope_renewals": ("delegation", "boundary.auto_approve.max_renewals"),
    "envelope_term_days": ("delegation", "boundary.auto_approve.max_term_days"),
    "lead_time_days": ("renewal", "lead_time_days"),
    "auto_tier": ("renewal", "auto_tier"),
    "overdraft": ("overdraft", None),
    "pace_from_percent": ("on_exhausted", "pace_from_percent"),
    "page_percents": ("on_exhausted", "page_percents"),
    "webhook": ("on_exhausted", "webhook"),
}
_LISTS: Final = (
    *("models", "vendors", "surfaces", "data_classes", "required_tags"),
    *("boundary_classes", "boundary_models", "boundary_owners"),
)
_EMPTY: Final[Mapping[str, Any]] = {"boundary": Boundary(), "auto_approve": Envelope()}
_BLANK: Final = NewGrant(path="", owner="")
UNSET_NAMES: Final = (*(name.replace("_", "-") for name in _PARTS), "boundary")

_Names = tuple[str, ...] | None


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Everything a grant may say besides its path and owner. None is: not said."""

    class_: Annotated[GrantClass | None, Parameter(name="--class", help="Class; the parent's if left out.")] = None
    time_zone: Annotated[str | None, Parameter(help="IANA name whose calendar the limits follow.")] = None
    starts: Annotated[str | None, Parameter(help="Date (from the start of that day) or instant.")] = None
    expires: Annotated[str | None, Parameter(help="Date (until the start of that day) or instant.")] = None

    limit: Annotated[
        tuple[str, ...], Parameter(group=_MONEY, help="Such as '0.50 usd per day' or '25 usd once'; repeatable.")
    ] = ()
    rpm: Annotated[int | None, Parameter(group=_MONEY, help="Requests per minute.")] = None
    tpm: Annotated[int | None, Parameter(group=_MONEY, help="Tokens per minute.")] = None
    concurrency: Annotated[int | None, Parameter(group=_MONEY, help="Requests in flight.")] = None

    team: Annotated[str | None, Parameter(group=_SCOPE, help="Fixes the tag team on every entry.")] = None
    feature: Annotated[str | None, Parameter(group=_SCOPE, help="Fixes the tag feature.")] = None
    tenant: Annotated[str | None, Parameter(group=_SCOPE, help="Fixes the tag tenant.")] = None
    environment: Annotated[str | None, Parameter(group=_SCOPE, help="Fixes the tag environment.")] = None
    experiment: Annotated[str | None, Parameter(group=_SCOPE, help="Fixes the tag experiment.")] = None
    required_tags: Annotated[
        _Names, Parameter(name="--required-tag", group=_SCOPE, help="A tag every call has to carry; repeatable.")
    ] = None

    models: Annotated[
        _Names, Parameter(name="--model", group=_SHAPE, help="Exact name, or a prefix ending in *; repeatable.")
    ] = None
    vendors: Annotated[_Names, Parameter(name="--vendor", group=_SHAPE, help="Vendor allowed; repeatable.")] = None
    surfaces: Annotated[_Names, Parameter(name="--surface", group=_SHAPE, help="Surface allowed; repeatable.")] = None
    max_input_tokens: Annotated[int | None, Parameter(group=_SHAPE, help="Input tokens of one request.")] = None
    max_output_tokens: Annotated[int | None, Parameter(group=_SHAPE, help="Output tokens of one request.")] = None
    tools: Annotated[Literal["yes", "no"] | None, Parameter(group=_SHAPE, help="Whether tools may be offered.")] = None
    data_classes: Annotated[
        _Names, Parameter(name="--data-class", group=_SHAPE, help="Class of data allowed; repeatable.")
    ] = None

    delegation: Annotated[
        Literal["yes", "no"] | None, Parameter(group=_HAND_ON, help="Whether grants may stand below this one.")
    ] = None
    max_depth: Annotated[int | None, Parameter(group=_HAND_ON, help="Levels allowed below this grant.")] = None
    overcommit_percent: Annotated[
        int | None, Parameter(group=_HAND_ON, help="How far children's limits may sum beyond this grant's own.")
    ] = None
    max_term_days: Annotated[int | None, Parameter(group=_HAND_ON, help="How far ahead a child's expiry may lie.")] = (
        None
    )
    lead_time_days: Annotated[
        int | None, Parameter(group=_HAND_ON, help="Days before expiry to ask for a renewal.")
    ] = None
    auto_tier: Annotated[
        str | None,
        Parameter(group=_HAND_ON, help="Up to which tier it renews itself inside an envelope: small, standard, large."),
    ] = None

    boundary_share_percent: Annotated[
        int | None,
        Parameter(group=_BOUND, help="Share of what this grant has left that one grant below may be handed."),
    ] = None
    boundary_usd: Annotated[
        str | None,
        Parameter(group=_BOUND, help="Dollars one grant below may be handed, per period of this grant's limits."),
    ] = None
    boundary_classes: Annotated[
        _Names, Parameter(name="--boundary-class", group=_BOUND, help="Class that may be handed out; repeatable.")
    ] = None
    boundary_models: Annotated[
        _Names, Parameter(name="--boundary-model", group=_BOUND, help="Model that may be handed out; repeatable.")
    ] = None
    boundary_owners: Annotated[
        _Names,
        Parameter(
            name="--boundary-owner", group=_BOUND, help="To whom: an address, or such as *@acme.example; repeatable."
        ),
    ] = None
    grace_hours: Annotated[
        int | None, Parameter(group=_BOUND, help="How long a production grant below goes on after its expiry, once.")
    ] = None
    envelope_increase_percent: Annotated[
        int | None, Parameter(group=_BOUND, help="Increase that is approved without a person.")
    ] = None
    envelope_usd: Annotated[
        str | None, Parameter(group=_BOUND, help="Dollars a month up to which requests are approved without a person.")
    ] = None
    envelope_renewals: Annotated[
        int | None, Parameter(group=_BOUND, help="Renewals in a row that are approved without a person.")
    ] = None
    envelope_term_days: Annotated[
        int | None, Parameter(group=_BOUND, help="For how long a renewal is approved without a person.")
    ] = None

    overdraft: Annotated[
        str | None, Parameter(group=_AT_CAP, help="Dollars escrowed above each money limit; production only.")
    ] = None
    pace_from_percent: Annotated[
        int | None, Parameter(group=_AT_CAP, help="Spread the rest over the period from here on; experimentation only.")
    ] = None
    page_percents: Annotated[
        tuple[int, ...] | None,
        Parameter(name="--page-percent", group=_AT_CAP, help="Tell people at this percent; repeatable."),
    ] = None
    webhook: Annotated[str | None, Parameter(group=_AT_CAP, help="Where this grant's notifications go.")] = None

    def fields(self, base: Grant | NewGrant, zone: str, unset: tuple[str, ...] = ()) -> dict[str, Any]:
        """Model fields these options speak about, with their new values; what they do not say is as in `base`.

        `unset` are option names whose values go back to what a blank grant has. Raises CommandError.
        """
        found: dict[str, Any] = {}
        if self.class_ is not None:
            found["grant_class"] = self.class_
        if self.time_zone is not None:
            found["time_zone"] = self.time_zone
        for field, option, text in (("starts_at", "--starts", self.starts), ("expires_at", "--expires", self.expires)):
            if text is not None:
                found[field] = parse_moment(text, option, zone)
        for option, (field, part) in _PARTS.items():
            stated = getattr(self, option)
            if option in unset and stated is not None:
                raise CommandError(f"`{option.replace('_', '-')}` is both given and unset")
            if option in unset:
                value = getattr(_BLANK, field) if part is None else _part(getattr(_BLANK, field), part)
            elif stated is not None:
                value = _value(option, stated)
            else:
                continue
            old = found.get(field, getattr(base, field))
            found[field] = value if part is None else _with_part(old, part, value)
        if "boundary" in unset:
            found["delegation"] = replace(found.get("delegation", base.delegation), boundary=None)
        return found


def with_limits(old: tuple[Limit, ...], stated: tuple[str, ...], unset: tuple[str, ...]) -> tuple[Limit, ...]:
    """Limits after some were set and some taken away. Raises CommandError for one that is not there to take away."""
    limits = {(one.dimension, one.period): one for one in old}
    for text in unset:
        if limits.pop(parse_limit_key(text), None) is None:
            raise CommandError(f"there is no limit `{text}` to unset")
    new = [parse_limit(text) for text in stated]
    if len({(one.dimension, one.period) for one in new}) != len(new):
        raise CommandError("one limit is given twice")
    limits |= {(one.dimension, one.period): one for one in new}
    return tuple(limits.values())


def _part(value: Any, part: str) -> Any:
    """A part by its dotted name; of what is absent, what it would be by default."""
    for name in part.split("."):
        inner = getattr(value, name)
        value = _EMPTY.get(name) if inner is None else inner
    return value


def _with_part(value: Any, part: str, new: Any) -> Any:
    """The value with the part of that dotted name replaced, and made where it was absent."""
    name, _, rest = part.partition(".")
    if not rest:
        return replace(value, **{name: new})
    inner = getattr(value, name)
    return replace(value, **{name: _with_part(_EMPTY[name] if inner is None else inner, rest, new)})


def _value(option: str, stated: Any) -> Any:
    if option in _LISTS:
        return parse_names(stated)
    if option in ("tools", "delegation"):
        return stated == "yes"
    if option in ("overdraft", "boundary_usd", "envelope_usd"):
        try:
            amount = parse_usd(stated)
        except InvalidAmountError as error:
            raise CommandError(f"--{option.replace('_', '-')}: {error}") from None
        return Overdraft(max_nanousd=amount) if option == "overdraft" else amount
    return stated
