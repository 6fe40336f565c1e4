"""Traces of a served model: when requests came, how long their prompts and answers were.

The format is that of the Azure LLM inference traces (AzurePublicDataset, CC-BY-4.0; Patel et al., "Splitwise", ISCA 2024):
a head line `TIMESTAMP,ContextTokens,GeneratedTokens`, then one request a line in the order of arrival, with timestamps
such as `2023-11-16 18:15:46.6805900`, seven decimals of a second, without a time zone.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens"
MAX_TOKENS = 1_000_000
_MAX_LINE = 200
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?")


class TraceError(Exception):
    """The trace cannot be used; the message names the file and the line."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request of a trace: seconds since the first one, tokens of its prompt and of its answer."""

    at_seconds: float
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """What a workload amounts to before it is sent."""

    requests: int
    seconds: float
    prompt_tokens: int
    output_tokens: int


def summarise(arrivals: Iterable[Arrival]) -> TraceSummary:
    """Reads all arrivals once, keeping none."""
    requests = prompt_tokens = output_tokens = 0
    seconds = 0.0
    for arrival in arrivals:
        requests += 1
        seconds = arrival.at_seconds
        prompt_tokens += arrival.prompt_tokens
        output_tokens += arrival.output_tokens
    return TraceSummary(requests, seconds, prompt_tokens, output_tokens)


def read_trace(path: Path, limit: int | None = None) -> Iterator[Arrival]:
    """The arrivals of a trace file, at most `limit` of them, read line by line. Raises TraceError."""
    first_nanoseconds: int | None = None
    last_nanoseconds = 0
    count = 0
    try:
        with path.open(encoding="utf-8", newline=None) as file:
            head = file.readline(_MAX_LINE).strip().removeprefix("\ufeff")
            if head != HEAD:
                raise TraceError(f"{path}, line 1: expected the head `{HEAD}`, found `{head[:80]}`")
            number = 1
            while line := file.readline(_MAX_LINE):
                if limit is not None and count >= limit:
                    return
                number += 1
                where = f"{path}, line {number}"
                nanoseconds, prompt_tokens, output_tokens = _parse(line.strip(), where)
                if first_nanoseconds is None:
                    first_nanoseconds = last_nanoseconds = nanoseconds
                if nanoseconds < last_nanoseconds:
                    raise TraceError(f"{where}: the timestamp is before that of the line above")
                last_nanoseconds = nanoseconds
                count += 1
                yield Arrival((nanoseconds - first_nanoseconds) / 1e9, prompt_tokens, output_tokens)
    except OSError as error:
        raise TraceError(f"cannot read `{path}`: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise TraceError(f"{path}: not UTF-8 text") from None
    if count == 0:
        raise TraceError(f"{path}: no request after the head line")


def _parse(line: str, where: str) -> tuple[int, int, int]:
    """(nanoseconds since some beginning, prompt tokens, output tokens) of one line."""
    cells = line.split(",")
    if len(cells) != 3:
        raise TraceError(f"{where}: expected 3 cells, found {len(cells)} in `{line[:80]}`")
    return (
        _instant(cells[0], where),
        _tokens("ContextTokens", cells[1], where),
        _tokens("GeneratedTokens", cells[2], where),
    )


def _instant(text: str, where: str) -> int:
    found = _TIMESTAMP.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError(text)
        moment = datetime.fromisoformat(f"{found[1]}+00:00")
    except ValueError:
        raise TraceError(f"{where}: `{text[:40]}` is not a timestamp such as `2023-11-16 18:15:46.6805900`") from None
    return int(moment.timestamp()) * 10**9 + int((found[2] or "0").ljust(9, "0"))


def _tokens(name: str, text: str, where: str) -> int:
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit()) or int(digits[:12]) > MAX_TOKENS:
        raise TraceError(f"{where}: {name} `{text[:40]}` is not a whole number up to {MAX_TOKENS:,}")
    return int(digits)
