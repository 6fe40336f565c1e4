"""The bytes of a request: what an OpenAI client would send, with the vendor's script in its prompt."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from remit.cli.rehearsal.cast import SANDBOX_OUTPUT_TOKENS, Planned
from remit.testing.vendor_sim import script_text

# How a mid-sized model is served, as an assumption: the traces do not say. Divided by the speed of the replay, so that as
# many calls are under way at a time as in reality.
FIRST_TOKEN_SECONDS: Final = 0.3
SECONDS_PER_TOKEN: Final = 0.02
_STREAM_CHUNKS: Final = 8
DIRECT: Final = "direct"
PROBE_TOKENS: Final = (60, 20)
_PROBE_BOUND: Final = 64
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Message:
    """A request before it has a host: path below the base URL, body, headers."""

    path: str
    body: bytes
    headers: dict[str, str]


def message_of(request: Planned, key: str, *, pace: float) -> Message:
    """One request of the workload. `pace` divides the vendor's own times."""
    arrival = request.arrival
    script: dict[str, Any] = {"prompt_tokens": arrival.prompt_tokens, "completion_tokens": arrival.output_tokens}
    first_ms = round(FIRST_TOKEN_SECONDS * 1000 / pace)
    rest_ms = round(SECONDS_PER_TOKEN * 1000 * arrival.output_tokens / pace)
    if request.stream:
        per_chunk = max(1, -(-arrival.output_tokens // _STREAM_CHUNKS))
        chunks = max(1, -(-arrival.output_tokens // per_chunk))
        script |= {"latency_ms": first_ms, "tokens_per_chunk": per_chunk, "chunk_ms": rest_ms // chunks}
    else:
        script["latency_ms"] = first_ms + rest_ms
    prompt = script_text(**script)
    if request.fault is not None:
        line, _, filling = prompt.partition("\n")
        prompt = f"{line} {request.fault}\n{filling}"
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_completion_tokens": request.output_bound,
    }
    if request.stream:
        body["stream"] = True
    headers = {"authorization": f"Bearer {key}", "remit-tags": f"feature={request.actor.feature}"}
    return _mistaken(request.mistake, Message("/chat/completions", _encode(body), headers), body)


def _mistaken(mistake: str | None, message: Message, body: dict[str, Any]) -> Message:
    """The same with the caller's mistake in it. A model or key that is wrong is there already."""
    headers = dict(message.headers)
    match mistake:
        case "malformed_request":
            return Message(message.path, message.body[:-2], headers)
        case "unauthenticated":
            del headers["authorization"]
        case "surface_not_allowed":
            return Message("/embeddings", _encode({"model": "text-embedding-3-small", "input": "hello"}), headers)
        case "tags_missing":
            del headers["remit-tags"]
        case "class_mismatch":
            headers["remit-tags"] += ",environment=production"
        case "shape_exceeded":
            wanted = {**body, "max_completion_tokens": SANDBOX_OUTPUT_TOKENS * 2}
            return Message(message.path, _encode(wanted), headers)
    return Message(message.path, message.body, headers)


def probe_of(key: str | None) -> Message:
    """The request of the latency sample, through the gateway with a key, straight to the vendor without."""
    prompt_tokens, output_tokens = PROBE_TOKENS
    prompt = script_text(prompt_tokens=prompt_tokens, completion_tokens=output_tokens)
    body = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": prompt}],
        "max_completion_tokens": _PROBE_BOUND,
    }
    headers = {"remit-tags": "feature=latency"}
    headers |= {"x-client-request-id": DIRECT} if key is None else {"authorization": f"Bearer {key}"}
    return Message("/chat/completions", _encode(body), headers)
