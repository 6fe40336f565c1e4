"""Rules for workloads as the settings have them, checked once at the start."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, get_args
from urllib.parse import urlsplit

from remit.api.fetch import LOOPBACK
from remit.api.jwks import Source
from remit.capabilities.model import Delegate, Limit, LimitPeriod
from remit.grants.minting import Narrowing
from remit.grants.workloads import ClaimPattern, ClaimRule, is_label_name, is_label_value
from remit.kernel.decisions import Dimension
from remit.kernel.money import MAX_NANOUSD, InvalidAmountError, parse_usd
from remit.settings import SettingsError, WorkloadSettings

MAX_RULES: Final = 200
MAX_TTL_SECONDS: Final = 3600
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_SPIFFE_DOMAIN = re.compile(r"spiffe://[a-z0-9._-]+/")
_PERIODS = get_args(LimitPeriod)
_DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)

# Issuers that sign tokens for the whole world, and what a rule must fix besides, in at least one of these claims: the
# beginning of every value that matches. Without it, anybody who has an account there would be let in.
_SHARED: Final[Mapping[str, Mapping[str, re.Pattern[str]]]] = {
    "https://token.actions.githubusercontent.com": {
        "sub": re.compile(r"repo:[^/:*]+/"),
        # Not `job_workflow_ref`: anybody's job can call a public workflow, on machines of its own.
        "repository": re.compile(r"[^/*]+/"),
    },
    "https://gitlab.com": {
        "sub": re.compile(r"project_path:[^/:*]+/"),
        "project_path": re.compile(r"[^/*]+/"),
    },
}
_SHARED_EXACT: Final[Mapping[str, tuple[str, ...]]] = {
    "https://token.actions.githubusercontent.com": (
        "sub", "repository", "repository_id", "repository_owner", "repository_owner_id", "enterprise_id",
    ),
    "https://gitlab.com": ("sub", "project_path", "project_id", "namespace_path", "namespace_id"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadRule:
    """Which tokens are exchanged for what. `issuer` is None only where subjects are SPIFFE ids of one trust domain."""

    name: str
    issuer: str | None
    audience: str
    source: Source
    claims: tuple[ClaimRule, ...]
    grant: str
    ttl: timedelta
    narrowing: Narrowing
    labels_from: Mapping[str, str]

    def concerns(self, issuer: str | None) -> bool:
        """Whether tokens of this issuer may be looked at by the rule."""
        return self.issuer is None or self.issuer == issuer


def read_rules(settings: Iterable[WorkloadSettings]) -> tuple[WorkloadRule, ...]:
    """The rules, in order. Raises SettingsError with the rule's name and one reason."""
    rules: list[WorkloadRule] = []
    for one in settings:
        if not _NAME.fullmatch(one.name):
            raise SettingsError(f"`workloads`: the name `{one.name[:80]}` does not match `{_NAME.pattern}`")
        if any(rule.name == one.name for rule in rules):
            raise SettingsError(f"`workloads`: the name `{one.name}` stands twice")
        try:
            rules.append(_rule(one))
        except ValueError as error:
            raise SettingsError(f"`workloads`: rule `{one.name}`: {error}") from None
    if len(rules) > MAX_RULES:
        raise SettingsError(f"`workloads`: {len(rules)} rules are more than {MAX_RULES}")
    return tuple(rules)


def _rule(one: WorkloadSettings) -> WorkloadRule:
    claims = tuple(ClaimRule(name, _patterns(name, stated)) for name, stated in one.claims.items())
    if not one.audience:
        raise ValueError("`audience` is empty")
    if not 1 <= one.ttl_seconds <= MAX_TTL_SECONDS:
        raise ValueError(f"`ttl_seconds` is at most {MAX_TTL_SECONDS}")
    if not one.grant:
        raise ValueError("`grant` is empty")
    _check_breadth(one.issuer, claims)
    return WorkloadRule(
        name=one.name,
        issuer=one.issuer,
        audience=one.audience,
        source=_source(one, claims),
        claims=claims,
        grant=one.grant,
        ttl=timedelta(seconds=one.ttl_seconds),
        narrowing=_narrowing(one),
        labels_from=one.labels_from,
    )


def _patterns(claim: str, stated: str | tuple[str, ...]) -> tuple[ClaimPattern, ...]:
    if claim in ("iss", "aud", "exp", "nbf", "iat"):
        raise ValueError(f"`claims.{claim}` is not for patterns: `issuer`, `audience` and the clock decide")
    texts = (stated,) if isinstance(stated, str) else stated
    if not texts or not all(texts):
        raise ValueError(f"`claims.{claim}` is empty")
    return tuple(ClaimPattern(text) for text in texts)


def _check_breadth(issuer: str | None, claims: tuple[ClaimRule, ...]) -> None:
    """An issuer vouches for many; a rule has to say whom of them it means."""
    if not any(all(one.says_something for one in rule.patterns) for rule in claims):
        raise ValueError("`claims` fixes nothing: at least one claim needs a pattern with more than `*` in it")
    shared = _SHARED.get(issuer.rstrip("/")) if issuer else None
    if issuer is None or shared is None:
        return
    exact = _SHARED_EXACT[issuer.rstrip("/")]
    for rule in claims:
        form = shared.get(rule.claim)
        if all(
            (form is not None and form.match(one.fixed_start)) or (rule.claim in exact and "*" not in one.text)
            for one in rule.patterns
        ):
            return
    names = ", ".join(f"`{name}`" for name in exact)
    raise ValueError(f"`{issuer}` signs for everybody: fix whose workload it is in at least one of {names}")


def _source(one: WorkloadSettings, claims: tuple[ClaimRule, ...]) -> Source:
    if one.jwks_file is not None and one.jwks_url is not None:
        raise ValueError("`jwks_file` and `jwks_url` are both set: the keys come from one place")
    if one.issuer == "":
        raise ValueError("`issuer` is empty")
    if one.issuer is None:
        if one.jwks_file is None and one.jwks_url is None:
            raise ValueError("`issuer` is missing: only rules with `jwks_file` or `jwks_url` can do without")
        subject = next((rule for rule in claims if rule.claim == "sub"), None)
        if subject is None or not all(_SPIFFE_DOMAIN.match(p.fixed_start) for p in subject.patterns):
            raise ValueError(
                "`issuer` is missing: only rules whose `claims.sub` begins with `spiffe://DOMAIN/` can do without"
            )
    if one.jwks_file is not None:
        return Source("file", str(one.jwks_file), None)
    kind, url = ("url", one.jwks_url) if one.jwks_url is not None else ("discovery", one.issuer)
    assert url is not None
    if not is_safe_url(url):
        key = "jwks_url" if kind == "url" else "issuer"
        raise ValueError(f"`{key}` is not an https URL without user, query and fragment (http only on this machine)")
    return Source(kind, url, None if one.ca_file is None else str(one.ca_file))


def is_safe_url(text: str) -> bool:
    """Whether keys may be fetched from there: https, or http on this machine itself."""
    try:
        url = urlsplit(text)
        host = url.hostname
        _ = url.port
    except ValueError:
        return False
    if not host or url.username is not None or url.password is not None or url.query or url.fragment:
        return False
    return url.scheme == "https" or (url.scheme == "http" and host in LOOPBACK)


def _narrowing(one: WorkloadSettings) -> Narrowing:
    for label, value in one.labels.items():
        if not is_label_name(label) or not is_label_value(value):
            raise ValueError(f"`labels.{label[:80]}` is no label")
    for label, claim in one.labels_from.items():
        if not is_label_name(label) or not claim:
            raise ValueError(f"`labels_from.{label[:80]}` is no label")
        if label in one.labels:
            raise ValueError(f"the label `{label}` stands in `labels` and in `labels_from`")
    bounds = one.delegate
    if not 0 <= bounds.max_depth <= 7 or not 0 <= bounds.max_children < 2**31:
        raise ValueError("`delegate` is out of range: `max_depth` is 0 to 7, `max_children` 0 to 2147483647")
    limits = tuple(_limit(item, f"limits[{number}]") for number, item in enumerate(one.limits))
    if len({(limit.dimension, limit.period) for limit in limits}) != len(limits):
        raise ValueError("`limits` has one dimension and period twice")
    for key, names in (("models", one.models), ("surfaces", one.surfaces)):
        if names is not None and (not names or len(set(names)) != len(names)):
            raise ValueError(f"`{key}` is empty or has a name twice; leave it out to restrict nothing")
    return Narrowing(
        limits=limits,
        models=one.models,
        surfaces=one.surfaces,
        labels=one.labels,
        delegate=Delegate(bounds.max_depth, bounds.max_children, bounds.max_ttl_seconds),
    )


def _limit(item: Mapping[str, Any], place: str) -> Limit:
    """`{ usd = "0.50", per = "day" }` as in a grants file; without `per` it is for the capability's whole life."""
    stated = [name for name in _DIMENSIONS if name in item]
    period = item.get("per", "once")
    if len(stated) != 1 or set(item) - {stated[0], "per"} or period not in _PERIODS:
        raise ValueError(f"`{place}` needs exactly one of {', '.join(_DIMENSIONS)}, and may have `per`")
    (dimension,) = stated
    amount = item[dimension]
    if dimension == "usd":
        if not isinstance(amount, str):
            raise ValueError(f'`{place}.usd` is an amount in quotes, such as "0.50"')
        try:
            return Limit(dimension, parse_usd(amount), period)
        except InvalidAmountError as error:
            raise ValueError(f"`{place}.usd`: {error}") from None
    if type(amount) is not int or not 0 <= amount <= MAX_NANOUSD:
        raise ValueError(f"`{place}.{dimension}` is not a whole number")
    return Limit(dimension, amount, period)
