"""Blocks to payload bytes and back. Field names, ranges and orders are pinned by docs/reference/token-format.md."""

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal, TypeVar, cast

from remit.capabilities.encoding import (
    MAX_INTEGER,
    Invalid,
    UnencodableError,
    decode_base64url,
    decode_canonical,
    encode_base64url,
    encode_canonical,
)
from remit.capabilities.model import (
    LIMIT_PERIODS,
    UNIT_OF_DIMENSION,
    Block0,
    Confirmation,
    Delegate,
    HolderBlock,
    Limit,
)
from remit.kernel.ids import is_id
from remit.kernel.names import TAG_NAME

MAX_INSTANT = 253_402_300_799  # 9999-12-31T23:59:59Z, the last second a datetime can hold
MAX_DEPTH = 7
MAX_CHILDREN = 2**31 - 1

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}")
_MODEL = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199})?\*|[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}")
_SURFACE = re.compile(r"[a-z0-9][a-z0-9._:/-]{0,62}")
# Control characters (C0, DEL, C1) have no place in what is copied into headers, logs and tables.
_LABEL_VALUE = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,128}")
_SPIFFE = re.compile(r"spiffe://[a-z0-9._-]+(?:/[A-Za-z0-9._-]+)+")

_REQUIRED = frozenset(
    ("v", "grant", "tenant", "epoch", "aud", "issued_at", "not_before", "not_after", "delegate", "next_key", "nonce")
)
_OPTIONAL = frozenset(("limits", "models", "surfaces", "labels", "cnf"))
_HOLDER_REQUIRED = frozenset(("not_after", "next_key", "nonce"))
_HOLDER_OPTIONAL = _OPTIONAL | {"delegate"}

Item = TypeVar("Item")


class _BadFieldError(Exception):
    """Leaves a field's reader; never leaves this module."""


def block0_payload(block: Block0) -> bytes:
    """The canonical payload of an issuer's block; lists are put in order here.

    Raises UnencodableError where a field is out of its range, an optional list is empty, or an item comes twice.
    """
    value: dict[str, Any] = {
        "v": 1,
        "grant": block.grant,
        "tenant": block.tenant,
        "epoch": block.epoch,
        "aud": block.audience,
        "issued_at": block.issued_at,
        "not_before": block.not_before,
        "not_after": block.not_after,
        "delegate": _delegate_value(block.delegate),
        **_common_values(block),
    }
    payload = encode_canonical(value)
    # Reading it back is the one place where fields are checked, for the issuer as for everybody else.
    if isinstance(read := parse_block0(payload), Invalid):
        raise UnencodableError(read.reason)
    return payload


def holder_payload(block: HolderBlock) -> bytes:
    """The canonical payload of a holder's block; raises UnencodableError as `block0_payload` does."""
    value: dict[str, Any] = {"not_after": block.not_after, **_common_values(block)}
    if block.delegate is not None:
        value["delegate"] = _delegate_value(block.delegate)
    payload = encode_canonical(value)
    if isinstance(read := parse_holder_block(payload), Invalid):
        raise UnencodableError(read.reason)
    return payload


def _common_values(block: Block0 | HolderBlock) -> dict[str, Any]:
    """The fields that every block may have, in any order."""
    value: dict[str, Any] = {"next_key": encode_base64url(block.next_key), "nonce": encode_base64url(block.nonce)}
    if block.limits:
        value["limits"] = [
            {"dimension": one.dimension, "amount": one.amount, "unit": one.unit, "period": one.period}
            for one in sorted(block.limits, key=_limit_order)
        ]
    if block.models is not None:
        value["models"] = sorted(block.models)
    if block.surfaces is not None:
        value["surfaces"] = sorted(block.surfaces)
    if block.labels:
        value["labels"] = dict(block.labels)
    if block.confirmation is not None:
        value["cnf"] = {block.confirmation.kind: block.confirmation.value}
    return value


def _delegate_value(delegate: Delegate) -> dict[str, int]:
    return {
        "max_depth": delegate.max_depth,
        "max_children": delegate.max_children,
        "max_ttl": delegate.max_ttl_seconds,
    }


def parse_block0(payload: bytes) -> Block0 | Invalid:
    """The issuer's block of a payload, where every byte and every field is as the format says."""
    value = decode_canonical(payload)
    if isinstance(value, Invalid):
        return value
    try:
        return _read_block0(value)
    except _BadFieldError as bad:
        return Invalid(str(bad))


def parse_holder_block(payload: bytes) -> HolderBlock | Invalid:
    """A holder's block of a payload, where every byte and every field is as the format says."""
    value = decode_canonical(payload)
    if isinstance(value, Invalid):
        return value
    try:
        _only(value, _HOLDER_REQUIRED, _HOLDER_OPTIONAL)
        return HolderBlock(
            not_after=_integer(value["not_after"], "not_after", 0, MAX_INSTANT),
            delegate=_delegate(value["delegate"]) if "delegate" in value else None,
            **_common_fields(value),
        )
    except _BadFieldError as bad:
        return Invalid(str(bad))


def _read_block0(value: Mapping[str, object]) -> Block0:
    _only(value, _REQUIRED, _OPTIONAL)
    _integer(value["v"], "v", 1, 1)
    grant = value["grant"]
    if not isinstance(grant, str) or not is_id(grant, "grant"):
        raise _BadFieldError("`grant` is not a grant's id")
    not_after = _integer(value["not_after"], "not_after", 0, MAX_INSTANT)
    return Block0(
        grant=grant,
        tenant=_text(value["tenant"], "tenant", _NAME),
        epoch=_integer(value["epoch"], "epoch", 0, MAX_INTEGER),
        audience=_text(value["aud"], "aud", _NAME),
        issued_at=_integer(value["issued_at"], "issued_at", 0, not_after - 1),
        not_before=_integer(value["not_before"], "not_before", 0, not_after - 1),
        not_after=not_after,
        delegate=_delegate(value["delegate"]),
        **_common_fields(value),
    )


def _only(value: Mapping[str, object], required: frozenset[str], optional: frozenset[str]) -> None:
    if not required <= value.keys():
        raise _BadFieldError("payload lacks a required field")
    if not value.keys() <= required | optional:
        raise _BadFieldError("payload has an unknown field")


def _common_fields(value: Mapping[str, object]) -> dict[str, Any]:
    """What `_common_values` writes, by the names of the types' fields."""
    return {
        "next_key": _bytes(value["next_key"], "next_key", 32),
        "nonce": _bytes(value["nonce"], "nonce", 16),
        "limits": _ordered(value["limits"], "limits", _limit, _limit_order) if "limits" in value else (),
        "models": _names(value["models"], "models", _MODEL) if "models" in value else None,
        "surfaces": _names(value["surfaces"], "surfaces", _SURFACE) if "surfaces" in value else None,
        "labels": _labels(value["labels"]) if "labels" in value else MappingProxyType({}),
        "confirmation": _confirmation(value["cnf"]) if "cnf" in value else None,
    }


def _text(value: object, name: str, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise _BadFieldError(f"`{name}` is malformed")
    return value


def _integer(value: object, name: str, lowest: int, highest: int) -> int:
    if type(value) is not int or not lowest <= value <= highest:
        raise _BadFieldError(f"`{name}` is not an integer within its range")
    return value


def _bytes(value: object, name: str, size: int) -> bytes:
    raw = decode_base64url(value) if isinstance(value, str) else None
    if not isinstance(raw, bytes) or len(raw) != size:
        raise _BadFieldError(f"`{name}` is not base64url of {size} bytes")
    return raw


def _fields(value: object, name: str, *fields: str) -> tuple[object, ...]:
    if not isinstance(value, dict) or value.keys() != set(fields):
        raise _BadFieldError(f"`{name}` does not have exactly its fields")
    return tuple(value[one] for one in fields)


def _ordered(
    value: object, name: str, read: Callable[[object], Item], order: Callable[[Item], Any]
) -> tuple[Item, ...]:
    """A list with at least one item, strictly ascending: one set, one encoding."""
    items = tuple(read(one) for one in _items(value, name))
    if any(order(a) >= order(b) for a, b in pairwise(items)):
        raise _out_of_order(name)
    return items


def _names(value: object, name: str, pattern: re.Pattern[str]) -> tuple[str, ...]:
    """As `_ordered`, for lists of texts: a chain of 4 KiB has room for hundreds of them."""
    items = _items(value, name)
    if any(type(one) is not str for one in items) or not all(map(pattern.fullmatch, items)):
        raise _BadFieldError(f"`{name}` is malformed")
    if items != sorted(set(items)):
        raise _out_of_order(name)
    return tuple(items)


def _items(value: object, name: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise _BadFieldError(f"`{name}` is not a list with items")
    return value


def _out_of_order(name: str) -> _BadFieldError:
    return _BadFieldError(f"`{name}` has one twice, or is not in ascending order")


def _limit_order(limit: Limit) -> tuple[str, str]:
    return limit.dimension, limit.period


def _limit(value: object) -> Limit:
    dimension, amount, unit, period = _fields(value, "limits", "dimension", "amount", "unit", "period")
    if not isinstance(dimension, str) or not isinstance(period, str) or period not in LIMIT_PERIODS:
        raise _BadFieldError("`limits` has an unknown dimension or period")
    if dimension not in UNIT_OF_DIMENSION or unit != UNIT_OF_DIMENSION[cast(Any, dimension)]:
        raise _BadFieldError("`limits` has an unknown dimension or another dimension's unit")
    return Limit(cast(Any, dimension), _integer(amount, "limits", 0, MAX_INTEGER), cast(Any, period))


def _delegate(value: object) -> Delegate:
    depth, children, ttl = _fields(value, "delegate", "max_depth", "max_children", "max_ttl")
    return Delegate(
        _integer(depth, "max_depth", 0, MAX_DEPTH),
        _integer(children, "max_children", 0, MAX_CHILDREN),
        _integer(ttl, "max_ttl", 0, MAX_INSTANT),
    )


def _labels(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict) or not value:
        raise _BadFieldError("`labels` is not a map with entries")
    return MappingProxyType(
        {_text(key, "labels", TAG_NAME): _text(text, "labels", _LABEL_VALUE) for key, text in value.items()}
    )


def _confirmation(value: object) -> Confirmation:
    if not isinstance(value, dict) or len(value) != 1:
        raise _BadFieldError("`cnf` does not name exactly one key")
    kind, named = next(iter(value.items()))
    if kind == "spiffe":
        return Confirmation("spiffe", _text(named, "cnf", _SPIFFE))
    if kind not in ("jkt", "x5t#S256"):
        raise _BadFieldError("`cnf` is of an unknown kind")
    _bytes(named, "cnf", 32)
    return Confirmation(cast(Literal["jkt", "x5t#S256"], kind), cast(str, named))
