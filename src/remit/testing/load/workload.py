"""A workload generated from published statistics of real traces, for where there is no file.

Source of the lengths: Azure LLM inference trace 2023, conversation (AzurePublicDataset, CC-BY-4.0; Patel et al.,
"Splitwise: Efficient generative LLM inference using phase splitting", ISCA 2024, which reports medians of 1,020 prompt and
129 output tokens). The spreads (standard deviation of the logarithm) and the largest values are those of the published
file: 19,366 requests in 3,502 s.

Source of the burstiness: gaps between arrivals of that file have a coefficient of variation of 1.1 in the conversation
trace and 13 in the code trace; Xiang et al., "ServeGen" (arXiv 2505.09999) find that gamma-distributed gaps with a
coefficient above 1 describe production arrivals better than a Poisson process. A single gamma renewal process with a
coefficient of 2 lies between the two traces.

What is not claimed: lengths are drawn independently of each other and of time, so sessions, daily cycles and the two
humps of the real prompt lengths are missing.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from remit.testing.load.trace import Arrival


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadModel:
    """Lognormal lengths by median and standard deviation of the logarithm, cut at the largest; gamma gaps."""

    prompt_median: int
    prompt_log_deviation: float
    prompt_largest: int
    output_median: int
    output_log_deviation: float
    output_largest: int
    gap_variation: float


CONVERSATION = WorkloadModel(
    prompt_median=1020,
    prompt_log_deviation=0.985,
    prompt_largest=14_050,
    output_median=129,
    output_log_deviation=0.859,
    output_largest=1_000,
    gap_variation=2.0,
)


def generate(model: WorkloadModel, *, requests: int, seconds: float, seed: int) -> Iterator[Arrival]:
    """That many arrivals, about `seconds` long in all; the same ones for the same seed. The first is at 0."""
    assert requests >= 1 and seconds >= 0
    source = random.Random(f"workload {seed}")  # noqa: S311 - has to be repeatable, not secret
    shape = 1 / model.gap_variation**2
    scale = seconds / requests / shape
    at_seconds = 0.0
    for _ in range(requests):
        prompt = _length(source, model.prompt_median, model.prompt_log_deviation, model.prompt_largest)
        output = _length(source, model.output_median, model.output_log_deviation, model.output_largest)
        yield Arrival(at_seconds, prompt, output)
        at_seconds += source.gammavariate(shape, scale) if scale > 0 else 0.0


def _length(source: random.Random, median: int, deviation: float, largest: int) -> int:
    return max(1, min(largest, round(source.lognormvariate(math.log(median), deviation))))
