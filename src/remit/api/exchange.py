"""Exchanges a workload's token for a capability, by the rules of the settings."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from remit.api.dpop import ProvenKey
from remit.api.jwks import KeySet, KeysUnavailableError, Source
from remit.api.subject_tokens import Unverified, is_signed_by, read_token, time_problem
from remit.api.workload_rules import WorkloadRule
from remit.capabilities.model import Confirmation
from remit.grants.minting import BEARER, NewCapability, Possession
from remit.grants.model import Actor, Problem
from remit.grants.workloads import labels_of
from remit.kernel.clock import Clock

_log = structlog.get_logger(__name__)
Mint = Callable[..., NewCapability | Problem]

# Half of the server's threads: people are answered whatever comes in here.
MAX_CONCURRENT: Final = 4
NOT_EXCHANGED: Final = "this token is not exchanged here"
SEVERAL: Final = "several rules admit this token: name one, or its grant, in `scope`"
UNAVAILABLE: Final = "this cannot be answered now; try again"
NOT_FOR_THAT: Final = "capabilities are not issued for this target"


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A capability for the caller, and how many seconds it lives."""

    token: str = field(repr=False)
    expires_in_seconds: int
    is_bound: bool


@dataclass(frozen=True, slots=True)
class NotExchanged:
    """A refusal: `error` as OAuth names it (RFC 6749, section 5.2), a fixed phrase, and why, for operators only."""

    error: str
    description: str
    why: str
    status: int = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one request asks for. `scope` is a rule's name or a grant's path; empty texts are left out."""

    subject_token: str = field(repr=False)
    scope: str = ""
    audience: str = ""
    proven: ProvenKey | None = None


class Exchange:
    """One per process. Safe to use from several threads; whoever calls takes a place in `room` first."""

    def __init__(self, rules: tuple[WorkloadRule, ...], clock: Clock, audience: str, mint: Mint) -> None:
        self._rules = rules
        self._clock = clock
        self._audience = audience
        self._mint = mint
        self.room = threading.BoundedSemaphore(MAX_CONCURRENT)
        self._keys: dict[Source, KeySet] = {rule.source: KeySet(rule.source, clock) for rule in rules}

    def exchange(self, asked: Asked, request_id: str) -> Exchanged | NotExchanged:
        """The capability of the one rule that admits the token. Every answer is logged, the token never."""
        token = read_token(asked.subject_token)
        if isinstance(token, str):
            return self._refused(_not_exchanged(token), request_id, None, None)
        rule = self._rule_for(token, asked)
        if isinstance(rule, NotExchanged):
            return self._refused(rule, request_id, token, None)
        labels = labels_of(token.claims, rule.labels_from)
        if isinstance(labels, str):
            return self._refused(_not_exchanged(labels), request_id, token, rule)
        # The settings are the operator's word: no owner has to permit it again.
        made = self._mint(
            rule.grant,
            Actor(f"workload:{rule.name}", is_admin=True),
            purpose=token.subject,
            ttl=rule.ttl,
            narrowing=replace(rule.narrowing, labels={**rule.narrowing.labels, **labels}),
            possession=_possession(asked.proven),
        )
        if isinstance(made, Problem):
            return self._refused(_not_exchanged(f"{made.code}: {made.detail}"), request_id, token, rule)
        block = made.block
        _log.info(
            "capability_exchanged",
            request_id=request_id,
            rule=rule.name,
            iss=token.issuer,
            sub=token.subject,
            block_id=block.id,
            grant=made.grant_path,
            not_after=block.not_after.isoformat(),
            bound=not made.is_bearer,
        )
        left = int((block.not_after - self._clock.now()).total_seconds())
        return Exchanged(made.token, max(left, 0), not made.is_bearer)

    def _rule_for(self, token: Unverified, asked: Asked) -> WorkloadRule | NotExchanged:
        """The rule that admits the token. What costs nothing is looked at before any key is read or used."""
        if asked.audience not in ("", self._audience):
            return NotExchanged("invalid_target", NOT_FOR_THAT, "another audience was asked for")
        concerned = [rule for rule in self._rules if rule.concerns(token.issuer)]
        if not concerned:
            return _not_exchanged("no rule is about this issuer")
        concerned = [rule for rule in concerned if rule.audience in token.audiences]
        if not concerned:
            return _not_exchanged("no rule of this issuer has an audience of the token")
        if problem := time_problem(token.claims, int(self._clock.now().timestamp())):
            return _not_exchanged(problem)
        admitting = [rule for rule in concerned if all(claim.admits(token.claims) for claim in rule.claims)]
        if not admitting:
            return _not_exchanged("no rule admits the token's claims")
        if asked.scope:
            admitting = [rule for rule in admitting if asked.scope in (rule.name, rule.grant)]
        if not admitting:
            return _not_exchanged("no rule that admits the token has this scope")
        return self._signed(token, admitting)

    def _signed(self, token: Unverified, admitting: list[WorkloadRule]) -> WorkloadRule | NotExchanged:
        """The one rule among these whose issuer signed the token; only from here on is anything told about rules."""
        sources = list(dict.fromkeys(rule.source for rule in admitting))
        verified, unavailable = set(), False
        for source in sources:
            try:
                known = self._keys[source].find(token.kid)
            except KeysUnavailableError:
                unavailable = True
                continue
            if known is not None and is_signed_by(token, known):
                verified.add(source)
        signed = [rule for rule in admitting if rule.source in verified]
        if len(signed) > 1:
            names = ", ".join(rule.name for rule in signed)
            return NotExchanged("invalid_request", SEVERAL, f"several rules admit the token: {names}")
        if signed:
            return signed[0]
        if unavailable:
            return NotExchanged("temporarily_unavailable", UNAVAILABLE, "the issuer's keys cannot be read", 503)
        return _not_exchanged("the key is not known, or the signature does not verify")

    def _refused(
        self, refusal: NotExchanged, request_id: str, token: Unverified | None, rule: WorkloadRule | None
    ) -> NotExchanged:
        _log.warning(
            "exchange_refused",
            request_id=request_id,
            error=refusal.error,
            why=refusal.why,
            # Anybody can write these into a token; they are shortened, and not to be believed.
            unverified_iss=None if token is None or token.issuer is None else token.issuer[:300],
            unverified_sub=None if token is None else token.subject[:300],
            rule=None if rule is None else rule.name,
        )
        return refusal


def _not_exchanged(why: str) -> NotExchanged:
    return NotExchanged("invalid_grant", NOT_EXCHANGED, why)


def _possession(proven: ProvenKey | None) -> Possession:
    if proven is None:
        return BEARER
    return Possession(confirmation=Confirmation("jkt", proven.thumbprint), next_public_key=proven.ed25519)
