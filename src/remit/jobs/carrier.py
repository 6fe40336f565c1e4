"""Carries notifications to one channel: at least once, in order for each ticket, with growing waits, not for ever."""

import random
from collections.abc import Callable
from datetime import timedelta

import structlog

from remit.kernel.clock import Clock
from remit.notify.channels import OpenChannel
from remit.notify.message import to_message
from remit.notify.ports import Dead, Delivered, TryAgain
from remit.store.postgres_deliveries import PostgresDeliveries

_log = structlog.get_logger(__name__)
FIRST_WAIT_SECONDS = 15
MAX_WAIT_SECONDS = 3600
_AT_ONCE = 50


class Carrier:
    """One channel's deliveries; each channel has its own, so that a slow one holds up no other."""

    def __init__(
        self,
        channel: OpenChannel,
        deliveries: PostgresDeliveries,
        clock: Clock,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.channel = channel
        self._deliveries = deliveries
        self._clock = clock
        self._jitter = jitter

    def round(self) -> int:
        """Carries what is due, now; answers how many arrived. Raises what storage raises.

        Each is put off before it is sent: one whose sending fails in any way is tried again later.
        """
        name = self.channel.name
        self._deliveries.fan_out(name, self.channel.kinds, self.channel.audiences)
        arrived = 0
        for _ in range(_AT_ONCE):
            claimed = self._deliveries.claim(name)
            if claimed is None:
                break
            outcome = self.channel.channel.deliver(to_message(claimed))
            if isinstance(outcome, TryAgain) and claimed["attempts"] >= self.channel.max_attempts:
                outcome = Dead(f"after {claimed['attempts']} attempts: {outcome.why}")
            if isinstance(outcome, Delivered):
                arrived += 1
                self._deliveries.end(name, claimed, "delivered", remote_ref=outcome.remote_ref)
            elif isinstance(outcome, TryAgain):
                wait = outcome.after_seconds or wait_seconds(claimed["attempts"], self._jitter())
                _log.warning("message_not_delivered", id=claimed["id"], channel=name, error=outcome.why, again_in=wait)
                again = self._clock.now() + timedelta(seconds=wait)
                self._deliveries.end(
                    name, claimed, "due", remote_ref=outcome.so_far, error=outcome.why, next_attempt_at=again
                )
            else:
                _log.error("message_dead", id=claimed["id"], channel=name, error=outcome.why)
                self._deliveries.end(name, claimed, "dead", error=outcome.why)
        return arrived


def wait_seconds(attempts: int, jitter: float) -> int:
    """After so many attempts: doubling from 15 seconds to an hour, of which a half is left to chance (0 <= jitter < 1)."""
    whole = min(FIRST_WAIT_SECONDS << min(attempts - 1, 12), MAX_WAIT_SECONDS)
    return whole // 2 + int(whole / 2 * jitter) + 1
