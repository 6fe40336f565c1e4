"""Every bound the wire keeps, in one place. Seconds are floats of the event loop's clock; sizes are bytes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WireLimits:
    """Bounds for connections from callers.

    The head timeout runs from the first byte of a head to its end, the body timeout from the end of the head to the end
    of the body; neither is extended by progress, so a trickle of bytes cannot hold a connection for ever.
    `max_unread_bytes` bounds what all connections together have received of bodies that are not whole yet.
    Timeouts are kept by a sweep: they fire at most two `sweep_seconds` late, never early.
    """

    max_head_bytes: int = 32 * 1024
    max_headers: int = 100
    max_target_bytes: int = 8192
    max_body_bytes: int = 16 * 1024 * 1024
    max_unread_bytes: int = 256 * 1024 * 1024
    head_timeout_seconds: float = 10.0
    body_timeout_seconds: float = 60.0
    idle_timeout_seconds: float = 75.0
    write_timeout_seconds: float = 60.0
    linger_seconds: float = 2.0
    max_connections: int = 4096
    max_pipelined_bytes: int = 64 * 1024

    @property
    def sweep_seconds(self) -> float:
        """How often deadlines are looked at: often enough for the shortest of them."""
        return sweep_seconds(
            self.head_timeout_seconds,
            self.body_timeout_seconds,
            self.idle_timeout_seconds,
            self.write_timeout_seconds,
            self.linger_seconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorLimits:
    """Bounds for connections to one vendor origin.

    `connect_timeout_seconds` covers name lookup, TCP and TLS, and the one retry. `first_byte_timeout_seconds` runs from
    the write of the request to the end of the response head; while the vendor is slow to read the request it starts
    anew whenever the vendor has read on. `read_idle_timeout_seconds` is the longest silence inside a body; time in
    which the call is paused does not count. `max_body_bytes` holds for calls that are not streams.
    """

    connect_timeout_seconds: float = 10.0
    first_byte_timeout_seconds: float = 300.0
    read_idle_timeout_seconds: float = 120.0
    write_timeout_seconds: float = 60.0
    wait_timeout_seconds: float = 10.0
    idle_seconds: float = 30.0
    max_connections: int = 1024
    max_waiting: int = 1024
    max_idle: int = 256
    max_head_bytes: int = 64 * 1024
    max_headers: int = 200
    max_interim_responses: int = 8
    max_body_bytes: int = 64 * 1024 * 1024

    @property
    def sweep_seconds(self) -> float:
        """How often deadlines are looked at."""
        return sweep_seconds(
            self.first_byte_timeout_seconds,
            self.read_idle_timeout_seconds,
            self.write_timeout_seconds,
            self.wait_timeout_seconds,
            self.idle_seconds,
        )


def sweep_seconds(*timeouts: float) -> float:
    """A quarter of the shortest timeout, between 10 ms and one second."""
    return min(1.0, max(0.01, min(timeouts) / 4))
