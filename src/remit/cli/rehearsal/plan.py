"""The tree of a rehearsal: caps are set from what the workload would cost, so that some of them bind."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from remit.cli.rehearsal.cast import ACTORS, ROOT, SANDBOX_OUTPUT_TOKENS, Planned
from remit.kernel.money import format_usd
from remit.kernel.periods import PeriodKind, period_of
from remit.testing.vendor_sim import BilledTokens, PriceList

OWNER = "ada@acme.example"
LEAD = "bo@acme.example"
# A rehearsal lasts minutes; a period that ends meanwhile would refill the caps it is about.
_ROOM = timedelta(minutes=15)
_QUANTUM_NANOUSD = 10_000
_PACE_FROM_PERCENT = 10


@dataclass(slots=True)
class Demand:
    """What a workload asks for in all: nano-USD and requests by actor, if everything were answered as asked."""

    nanousd: dict[str, int] = field(default_factory=lambda: {actor.name: 0 for actor in ACTORS})
    requests: dict[str, int] = field(default_factory=lambda: {actor.name: 0 for actor in ACTORS})
    prompt_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0

    @property
    def total_nanousd(self) -> int:
        return sum(self.nanousd.values())

    @property
    def total_requests(self) -> int:
        return sum(self.requests.values())


def demand_of(requests: Iterable[Planned]) -> Demand:
    """Adds a workload up, keeping none of it."""
    prices = PriceList.default().models
    demand = Demand()
    for request in requests:
        arrival = request.arrival
        demand.requests[request.actor.name] += 1
        demand.prompt_tokens += arrival.prompt_tokens
        demand.output_tokens += arrival.output_tokens
        demand.seconds = arrival.at_seconds
        if request.mistake is None:
            tokens = BilledTokens(prompt_tokens=arrival.prompt_tokens, completion_tokens=arrival.output_tokens)
            demand.nanousd[request.actor.name] += prices[request.model].invoice_nanousd("default", tokens)
    return demand


def grants_of(demand: Demand, *, now: datetime, run_seconds: float) -> dict[str, Any]:
    """The `grants` of a grants file for this workload; `run_seconds` is how long it will take to send."""
    asked = demand.nanousd
    window = _window(now)
    # Of what the children of `product` will get, a little is missing at `product` itself.
    product = (asked["search"] * 85 + asked["support"] * 100 + asked["mailer"] * 40) // 100 * 92 // 100
    paced, pace_window = _paced_limit(asked["agents"], now)
    per_minute = max(1, int(demand.requests["mailer"] * min(1.0, 60 / max(run_seconds, 1.0)) * 0.3))
    half_way = now + timedelta(seconds=max(1.0, run_seconds / 2))
    research: dict[str, dict[str, Any]] = {
        "evals": {"limits": [_usd(asked["evals"] // 2, "once")]},
        "agents": {"limits": [_usd(paced, pace_window)], "on_exhausted": {"pace_from_percent": _PACE_FROM_PERCENT}},
        "sandbox": {"shape": {"models": ["gpt-4o-mini"], "max_output_tokens": SANDBOX_OUTPUT_TOKENS}},
        "hackathon": {"expires": half_way.isoformat()},
    }
    return {
        ROOT: {
            "owner": OWNER,
            "class": "production",
            "expires": (now + timedelta(days=366)).isoformat(),
            "limits": [_usd(demand.total_nanousd * 20 + 10**9, window)],
            "required_tags": ["feature"],
            "children": {
                "platform": {"owner": OWNER, "scope": {"team": "platform"}, "children": {"probe": {"owner": OWNER}}},
                "product": {
                    "owner": LEAD,
                    "scope": {"team": "product", "environment": "prod"},
                    "limits": [_usd(product, window)],
                    "children": {
                        "search": {
                            "owner": "cy@acme.example",
                            "limits": [_usd(asked["search"] * 60 // 100, window)],
                            "overdraft": {"usd": _text(asked["search"] * 15 // 100)},
                        },
                        "support": {"owner": "di@acme.example"},
                        "mailer": {"owner": "eli@acme.example", "rate": {"rpm": per_minute}},
                    },
                },
                "research": {
                    "owner": "eva@acme.example",
                    "class": "experimentation",
                    "scope": {"team": "research", "environment": "lab"},
                    "children": {name: {"owner": "fay@acme.example", **rest} for name, rest in research.items()},
                },
            },
        }
    }


def _window(now: datetime) -> PeriodKind:
    """A calendar period that does not end during the rehearsal."""
    kinds: tuple[PeriodKind, ...] = ("month", "quarter")
    for kind in kinds:
        if period_of(kind, now, ZoneInfo("UTC")).end > now + _ROOM:
            return kind
    return "once"


def _paced_limit(asked_nanousd: int, now: datetime) -> tuple[int, PeriodKind]:
    """A limit of which pacing allows half the demand by now, over the calendar period with the most left of it."""
    kinds: tuple[PeriodKind, ...] = ("week", "month", "quarter")
    shares = {kind: _available_permille(kind, now) for kind in kinds}
    kind = min(kinds, key=lambda one: shares[one])
    return asked_nanousd // 2 * 1000 // shares[kind], kind


def _available_permille(kind: PeriodKind, now: datetime) -> int:
    """How much of a paced limit may be used by now."""
    period = period_of(kind, now, ZoneInfo("UTC"))
    elapsed = (now - period.start) * 1000 // (period.end - period.start)
    return _PACE_FROM_PERCENT * 10 + (100 - _PACE_FROM_PERCENT) * elapsed // 100


def _usd(amount_nanousd: int, per: PeriodKind) -> dict[str, str]:
    return {"usd": _text(amount_nanousd), "per": per}


def _text(amount_nanousd: int) -> str:
    """An amount as a grants file states it, in steps that read well."""
    rounded = max(1, amount_nanousd // _QUANTUM_NANOUSD) * _QUANTUM_NANOUSD
    return format_usd(rounded).replace("$", "").replace(",", "")
