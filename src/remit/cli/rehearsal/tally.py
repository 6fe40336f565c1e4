"""What came back: counts, refusals by code, latencies. Nothing grows with the workload but eight bytes a latency."""

from collections import Counter
from dataclasses import dataclass, field

import msgspec

from remit.cli.rehearsal.cast import Planned
from remit.testing.load import Answer, Sample


@dataclass(frozen=True, slots=True)
class RefusedKind:
    """What refusals are counted by."""

    code: str
    status: int
    grant_class: str
    binding_node: str | None


@dataclass(slots=True)
class Tally:
    """Filled answer by answer. `told_nanousd` is what callers were told their calls cost."""

    sent: int = 0
    answered: int = 0
    streams: int = 0
    refused: Counter[RefusedKind] = field(default_factory=Counter)
    failed: Counter[int] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    first_refusals: dict[tuple[str, int, str], Answer] = field(default_factory=dict)
    told_nanousd: int = 0
    latency: Sample = field(default_factory=Sample)

    @property
    def refusals(self) -> int:
        return sum(self.refused.values())

    @property
    def unanswered(self) -> int:
        """Calls that ended in neither an answer nor a refusal."""
        return sum(self.failed.values()) + sum(self.broken.values())

    @property
    def ended(self) -> int:
        return self.answered + self.refusals + self.unanswered

    def take(self, request: Planned, answer: Answer) -> None:
        """Counts one answer."""
        code = answer.header("remit-refused")
        if answer.broken is not None and code is None:
            self.broken[answer.broken] += 1
        elif code is not None and answer.status is not None:
            kind = RefusedKind(code, answer.status, request.actor.grant_class, _binding_node(answer.body))
            self.refused[kind] += 1
            self.first_refusals.setdefault((code, answer.status, request.actor.grant_class), answer)
        elif answer.status == 200 and (answer.ended or not request.stream):
            self.answered += 1
            self.streams += request.stream
            self.latency.add(answer.total_seconds)
            self.told_nanousd += int(answer.header("remit-cost-nanousd") or 0)
        elif answer.status == 200:
            self.broken["the stream ended without its last event"] += 1
        else:
            self.failed[answer.status or 0] += 1


def _binding_node(body: bytes) -> str | None:
    try:
        document = msgspec.json.decode(body)
        node = document["error"]["remit"]["binding_node"]
    except (msgspec.MsgspecError, KeyError, TypeError):
        return None
    return node if isinstance(node, str) else None
