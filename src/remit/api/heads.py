"""A time limit for the heads of requests, which the server itself does not have."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


def protocol_with_deadline(head_seconds: float) -> type[H11Protocol]:
    """The server's protocol, for connections on which each head arrives in so many seconds or never.

    A connection counts towards the most there may be. Without this, whoever sends heads slowly, or none, could hold
    them all for ever.
    """

    class PromptHeads(H11Protocol):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, **more)
            self._deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget()
            super().connection_lost(exc)

        def _watch(self) -> None:
            """Each head has one deadline, from its first byte, or from the beginning of the connection."""
            if not self._is_waiting_for_head():
                self._forget()
            elif self._deadline is None:
                self._deadline = self.loop.call_later(head_seconds, self._give_up)

        def _give_up(self) -> None:
            self._deadline = None
            if self._is_waiting_for_head():
                self.transport.close()

        def _forget(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _is_waiting_for_head(self) -> bool:
            return self.conn.their_state is h11.IDLE

    return PromptHeads
