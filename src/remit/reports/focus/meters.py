"""What is metered: each kind of a price line as a SKU meter, and what has no lines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Meter:
    """A meter; `details` are keys of SkuPriceDetails. Tokens are priced by the million, requests one by one."""

    name: str
    slug: str
    unit: str = "Tokens"
    details: tuple[tuple[str, str], ...] = ()

    @property
    def is_tokens(self) -> bool:
        return self.unit == "Tokens"


def _tokens(name: str, slug: str, direction: str, cache: str | None = None, modality: str | None = None) -> Meter:
    # As the draft of FOCUS 1.5 names them, but for the prefix: names of a draft have changed before.
    details = {"x_TokenDirection": direction, "x_TokenCacheAction": cache, "x_TokenModality": modality}
    return Meter(name, slug, details=tuple((key, value) for key, value in details.items() if value is not None))


UNRESOLVED: Final = Meter("Unresolved Request", "unresolved", "Requests")
"""A call whose cost is not known, at the ceiling it was booked at."""
UNITEMISED: Final = Meter("Unitemised Request", "unitemised", "Requests")
"""A call with an amount and no lines that explain it: not charged, or booked as a statement said."""

METERS: Final[Mapping[str, Meter]] = {
    "input": _tokens("Input Tokens", "input", "Input", "Uncached"),
    "cache_read": _tokens("Cache Read Input Tokens", "cache-read", "Input", "Read"),
    "cache_write": _tokens("Cache Write Input Tokens", "cache-write", "Input", "Write"),
    "input_audio": _tokens("Audio Input Tokens", "input-audio", "Input", "Uncached", "Audio"),
    "output": _tokens("Output Tokens", "output", "Output"),
    "output_audio": _tokens("Audio Output Tokens", "output-audio", "Output", modality="Audio"),
    "request": Meter("Request Fees", "request", "Requests"),
}
