"""What a gateway process is told at its start: a line of JSON on its standard input, so that no secret is an argument."""

from datetime import timedelta
from pathlib import Path, PurePath
from typing import Any

import msgspec

from remit.settings import Settings


class GatewayOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings, with the database's URL among them; the clock; and where to say that callers are served.

    `clock_shift` is None for the machine's clock. The end of the pipe `ready_descriptor` without a byte means that the
    process ended before it served.
    """

    settings: Settings
    clock_shift: timedelta | None
    ready_descriptor: int


def encode_order(order: GatewayOrder) -> bytes:
    """The order as a line."""
    return msgspec.json.encode(order, enc_hook=_encode) + b"\n"


def decode_order(line: bytes) -> GatewayOrder:
    """The order of such a line."""
    return msgspec.json.decode(line, type=GatewayOrder, dec_hook=_decode)


def _encode(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    raise NotImplementedError(type(value))


def _decode(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    raise NotImplementedError(kind)
