"""Who asks for what: leaf grants, and the seeded rule that turns an arrival into a request of one of them."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from remit.kernel.decisions import GrantClass
from remit.testing.load import Arrival

ROOT: Final = "acme"
PROBE_PATH: Final = f"{ROOT}/platform/probe"
SANDBOX_OUTPUT_TOKENS: Final = 2048
# Callers state an output bound somewhat above what they get; with this ladder it is at most twice that.
OUTPUT_BOUNDS: Final = (256, 512, 1024, 2048, 4096, 8192, 16_384)
STREAM_PERCENT: Final = 40


@dataclass(frozen=True, slots=True)
class Actor:
    """One leaf grant and how it behaves. `share` is in percent of all requests, models are (name, percent)."""

    name: str
    path: str
    team: str
    grant_class: GrantClass
    share: int
    feature: str
    models: tuple[tuple[str, int], ...]
    fate: str


_CHAT_MODELS = (("gpt-4o-mini", 60), ("gpt-4o", 25), ("gpt-4.1", 15))
_SMALL_MODELS = (("gpt-4o-mini", 100),)
_THINKING_MODELS = (("o4-mini", 50), ("gpt-5-mini", 50))

ACTORS: Final = (
    Actor(
        "search", f"{ROOT}/product/search", "product", "production", 28, "search", _CHAT_MODELS, "cap, then overdraft"
    ),
    Actor(
        "support",
        f"{ROOT}/product/support",
        "product",
        "production",
        22,
        "support",
        _CHAT_MODELS,
        "its parent's cap binds",
    ),
    Actor("mailer", f"{ROOT}/product/mailer", "product", "production", 10, "mail", _SMALL_MODELS, "requests a minute"),
    Actor("evals", f"{ROOT}/research/evals", "research", "experimentation", 14, "evals", _CHAT_MODELS, "cap, once"),
    Actor("agents", f"{ROOT}/research/agents", "research", "experimentation", 14, "agents", _THINKING_MODELS, "pacing"),
    Actor(
        "sandbox",
        f"{ROOT}/research/sandbox",
        "research",
        "experimentation",
        7,
        "sandbox",
        _SMALL_MODELS,
        "one model only",
    ),
    Actor(
        "hackathon",
        f"{ROOT}/research/hackathon",
        "research",
        "experimentation",
        5,
        "hackathon",
        _SMALL_MODELS,
        "expires half-way",
    ),
)

# Of a thousand requests, how many go wrong in which way on the caller's side; and the grant they are made for, if one.
MISTAKES: Final[tuple[tuple[str, int, str | None], ...]] = (
    ("malformed_request", 3, None),
    ("unauthenticated", 4, None),
    ("capability_revoked", 4, "sandbox"),
    ("surface_not_allowed", 3, None),
    ("model_not_allowed", 5, "sandbox"),
    ("tags_missing", 5, None),
    ("class_mismatch", 4, "evals"),
    ("shape_exceeded", 4, "sandbox"),
    ("unpriced", 4, "agents"),
)
# With `every_mistake`: the first request, and each so many later, makes the next kind of mistake.
_EVERY: Final = 20
UNPRICED_MODEL: Final = "gpt-nobody-sells"


@dataclass(frozen=True, slots=True)
class Planned:
    """One request to be sent. `mistake` is what the caller does wrong, `fault` the vendor's script for going wrong."""

    arrival: Arrival
    actor: Actor
    model: str
    stream: bool
    output_bound: int
    mistake: str | None = None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule, by seed. `vendor_faults_permille` of all calls break off at the vendor.

    With `every_mistake` each kind of mistake is made at least once, also in a short workload.
    """

    seed: int
    vendor_faults_permille: int = 0
    every_mistake: bool = False

    def sentences(self) -> list[str]:
        """The rule as a person would say it."""
        shares = ", ".join(f"{actor.name} {actor.share}%" for actor in ACTORS)
        wrong = sum(permille for _, permille, _ in MISTAKES)
        bounds = ", ".join(str(bound) for bound in OUTPUT_BOUNDS[:4])
        return [
            f"seed {self.seed}: grants by share: {shares}; tags: team by grant, feature by caller",
            f"models by each grant's own shares; {STREAM_PERCENT}% streams; output bound: next of {bounds}, ...",
            f"per thousand: {wrong} mistakes of callers, {self.vendor_faults_permille} answers broken by the vendor",
        ]

    def cast(self, arrivals: Iterable[Arrival]) -> Iterator[Planned]:
        """Each arrival's request; the same ones for the same seed and arrivals."""
        source = random.Random(f"cast {self.seed}")  # noqa: S311 - has to be repeatable, not secret
        by_name = {actor.name: actor for actor in ACTORS}
        shares = [actor.share for actor in ACTORS]
        kinds = [kind for kind, _, _ in MISTAKES]
        permilles = [permille for _, permille, _ in MISTAKES]
        for number, arrival in enumerate(arrivals):
            actor = source.choices(ACTORS, shares)[0]
            model = source.choices(*_columns(actor.models))[0]
            stream = source.randrange(100) < STREAM_PERCENT
            goes_wrong, breaks = source.randrange(1000), source.randrange(1000)
            mistake = source.choices(kinds, permilles)[0] if goes_wrong < sum(permilles) else None
            fault = None
            if self.every_mistake and number % _EVERY == 0 and number // _EVERY < len(kinds):
                mistake = kinds[number // _EVERY]
            if mistake is not None:
                named = next(name for kind, _, name in MISTAKES if kind == mistake)
                actor = by_name[named] if named else actor
                model = _mistaken_model(mistake) or actor.models[0][0]
            elif breaks < self.vendor_faults_permille:
                fault = "mode=reset_after_chunks:2" if stream else "error=500 billed=true"
            yield Planned(arrival, actor, model, stream, _output_bound(arrival.output_tokens), mistake, fault)


def _columns(pairs: tuple[tuple[str, int], ...]) -> tuple[list[str], list[int]]:
    return [name for name, _ in pairs], [weight for _, weight in pairs]


def _mistaken_model(mistake: str) -> str | None:
    return {"model_not_allowed": "gpt-4o", "unpriced": UNPRICED_MODEL}.get(mistake)


def _output_bound(output_tokens: int) -> int:
    return next((bound for bound in OUTPUT_BOUNDS if bound >= output_tokens), max(OUTPUT_BOUNDS[-1], output_tokens))
