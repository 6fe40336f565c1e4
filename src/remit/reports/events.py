"""Entries of the ledger as events: CloudEvents 1.0, OpenMeter's and Lago's, with ids by which a repetition is known.

After "CloudEvents - Version 1.0.2" with "JSON Event Format" (batches) and the extension `sequence`; OpenMeter's ingestion of
CloudEvents; Lago's `POST /api/v1/events/batch`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from remit.kernel.money import format_usd

Shape = Literal["cloudevents", "openmeter", "lago"]
Entry = Mapping[str, Any]
# What is in no event: how the entry's own row was hashed, and which limits it counted in.
_LEFT_OUT = frozenset({"seq", "entry_hash", "periods", "node_ids", "block_ids"})
_PROPERTIES = ("kind", "class", "vendor", "deployment", "tier", "billing_month")
_TOKENS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
CONTENT_TYPES: Mapping[Shape, str] = {
    "cloudevents": "application/cloudevents-batch+json; charset=utf-8",
    "openmeter": "application/cloudevents-batch+json",
    "lago": "application/json",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaping:
    """How a receiver wants events. `tags` are those that are told, None for all."""

    shape: Shape
    source: str
    type: str
    code: str
    value: Literal["usd", "nanousd", "tokens", "requests"]
    subject: str
    subjects: Mapping[str, str] = field(default_factory=dict)
    subject_else: str = "unassigned"
    tags: frozenset[str] | None = None


def body_of(entries: Sequence[tuple[int, Entry]], shaping: Shaping) -> Any:
    """A batch, to be sent as JSON. Entries come with their numbers, as stored."""
    if shaping.shape == "lago":
        return {"events": [_lago(entry, shaping) for _, entry in entries]}
    make = _cloudevent if shaping.shape == "cloudevents" else _openmeter
    return [make(seq, entry, shaping) for seq, entry in entries]


def known_there(status: int | None, body: Any, count: int, shape: Shape) -> frozenset[int]:
    """Which events of a refused batch the receiver has already: Lago refuses a batch for one it knows, and says which."""
    if shape != "lago" or status != 422 or not isinstance(body, Mapping):
        return frozenset()
    details = body.get("error_details")
    if not isinstance(details, Mapping):
        return frozenset()
    if count == 1 and _is_known(details):
        return frozenset({0})
    numbers = (
        int(key) for key, said in details.items() if str(key).isdecimal() and len(str(key)) < 6 and _is_known(said)
    )
    return frozenset(number for number in numbers if number < count)


def subject_of(entry: Entry, shaping: Shaping) -> str:
    """Whom an entry is charged to, as the receiver calls them. Of grants, the nearest one above that has a name there."""
    kind, _, tag = shaping.subject.partition(":")
    if kind == "grant":
        path = str(entry["grant_path"])
        above = path
        while above:
            if above in shaping.subjects:
                return shaping.subjects[above]
            above = above.rpartition("/")[0]
        return path or shaping.subject_else
    value = entry["owner"] if kind == "owner" else entry["tags"].get(tag)
    return shaping.subjects.get(str(value), str(value)) if value else shaping.subject_else


def _cloudevent(seq: int, entry: Entry, shaping: Shaping) -> dict[str, Any]:
    told = {name: value for name, value in entry.items() if name not in _LEFT_OUT and value is not None}
    for name in ("tags", "tag_conflicts"):
        if name in told:
            told[name] = _tags(told[name], shaping)
    event = _event(entry, shaping, f"remit.entry.{entry['kind']}", told)
    # As text of one length, so that comparing texts compares numbers.
    return {**event, "sequence": f"{seq:020d}"}


def _openmeter(_: int, entry: Entry, shaping: Shaping) -> dict[str, Any]:
    return _event(entry, shaping, shaping.type, {"value": _value(entry, shaping), **_properties(entry, shaping)})


def _event(entry: Entry, shaping: Shaping, kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": entry["id"],
        "source": shaping.source,
        "type": kind,
        "subject": subject_of(entry, shaping),
        "time": entry["recorded_at"],
        "datacontenttype": "application/json",
        "data": data,
    }


def _lago(entry: Entry, shaping: Shaping) -> dict[str, Any]:
    instant = datetime.fromisoformat(entry["recorded_at"])
    seconds, milliseconds = int(instant.timestamp()), instant.microsecond // 1000
    return {
        "transaction_id": entry["id"],
        "external_subscription_id": subject_of(entry, shaping),
        "code": shaping.code,
        "timestamp": f"{seconds}.{milliseconds:03d}",
        "properties": {"value": _value(entry, shaping), **_properties(entry, shaping)},
    }


def _properties(entry: Entry, shaping: Shaping) -> dict[str, Any]:
    """What meters sum and group by. Amounts are text as well as integers: not every receiver keeps 64 bits of a number."""
    usage = entry.get("usage") or {}
    told = {name: entry[name] for name in _PROPERTIES if entry.get(name) is not None}
    told["model"] = entry.get("model_served") or entry.get("model_requested")
    told["grant"] = entry["grant_path"]
    told["amount_nanousd"] = str(entry["amount_nanousd"])
    told["amount_usd"] = _usd(entry["amount_nanousd"])
    told["tokens"] = entry["tokens"]
    told["requests"] = entry["requests"]
    told.update({name: usage[name] for name in _TOKENS if usage.get(name) is not None})
    told.update({f"tag_{name}": value for name, value in _tags(entry["tags"], shaping).items()})
    return {name: value for name, value in told.items() if value is not None}


def _value(entry: Entry, shaping: Shaping) -> str:
    if shaping.value == "usd":
        return _usd(entry["amount_nanousd"])
    return str(entry["amount_nanousd" if shaping.value == "nanousd" else shaping.value])


def _usd(amount_nanousd: int) -> str:
    return format_usd(amount_nanousd).replace("$", "").replace(",", "")


def _tags(tags: Mapping[str, str], shaping: Shaping) -> dict[str, str]:
    return {name: value for name, value in tags.items() if shaping.tags is None or name in shaping.tags}


def _is_known(said: Any) -> bool:
    return (
        isinstance(said, Mapping)
        and set(said) == {"transaction_id"}
        and said["transaction_id"] == ["value_already_exist"]
    )
