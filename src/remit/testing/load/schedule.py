"""The open loop: each item at its instant."""

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
# Late items go out at once, but the answers of earlier ones must be read between them.
_LATE_IN_A_ROW = 16


async def open_loop(items: Iterable[tuple[float, T]], send: Callable[[T, float], None]) -> None:
    """Hands each item to `send` at its instant on the loop's clock; `send` must not block.

    Items are (instant, item) in order of their instants and are drawn one by one. An item whose instant has passed goes
    out at once, with its instant unchanged: lag is for the receiver to measure.
    """
    loop = asyncio.get_running_loop()
    late = 0
    for due, item in items:
        wait = due - loop.time()
        if wait > 0:
            late = 0
            await asyncio.sleep(wait)
        else:
            late += 1
            if late % _LATE_IN_A_ROW == 0:
                await asyncio.sleep(0)
        send(item, due)
