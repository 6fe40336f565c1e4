"""Token usage in disjoint kinds, so that no token can be priced twice.

Vendors state usage in overlapping numbers (OpenAI's `prompt_tokens` includes cached ones, Anthropic's
`input_tokens` does not); each provider turns them into these kinds once.
"""

from dataclasses import dataclass, fields
from typing import Literal

UsageSource = Literal["vendor", "recovered", "estimated"]
"""Where the counts come from: stated by the vendor, rebuilt from its stream, or taken from the ceiling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Counts by kind; kinds never overlap. All integers >= 0; a kind a vendor does not have is 0.

    A usage that is not known is no `Usage` at all (`None` where one is expected): unknown is never zero.
    """

    input_tokens: int = 0  # text input that was neither read from nor written to a cache
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    input_audio_tokens: int = 0
    output_tokens: int = 0  # text output, reasoning included
    output_audio_tokens: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            assert getattr(self, field.name) >= 0, field.name

    @property
    def total_input_tokens(self) -> int:
        """Everything the model read: what context tiers are chosen by."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens + self.input_audio_tokens

    @property
    def total_output_tokens(self) -> int:
        return self.output_tokens + self.output_audio_tokens

    @property
    def total_tokens(self) -> int:
        return self.total_input_tokens + self.total_output_tokens
