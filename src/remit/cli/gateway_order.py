"""What a gateway process is told at its start: a line of JSON on its standard input, so that no secret is an argument."""

from datetime import timedelta

import msgspec

from remit.settings import Settings, decode_path, encode_path


class GatewayOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings, with the database's URL among them; the clock; and where to say that callers are served.

    `clock_shift` is None for the machine's clock. The end of the pipe `ready_descriptor` without a byte means that the
    process ended before it served. `number` tells processes of one parent apart, from 0.
    """

    settings: Settings
    clock_shift: timedelta | None
    ready_descriptor: int
    number: int = 0


def encode_order(order: GatewayOrder) -> bytes:
    """The order as a line."""
    return msgspec.json.encode(order, enc_hook=encode_path) + b"\n"


def decode_order(line: bytes) -> GatewayOrder:
    """The order of such a line."""
    return msgspec.json.decode(line, type=GatewayOrder, dec_hook=decode_path)
