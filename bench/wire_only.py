"""The gateway's own HTTP server, answering at once: no decision, no database, no vendor. Prints its port."""

import asyncio
import signal

import uvloop

from remit.gateway.wire.exchange import Exchange
from remit.gateway.wire.limits import WireLimits
from remit.gateway.wire.server import CallerServer

# As long as the simulator's answer to the same request.
ANSWER_BYTES = 560
_HEADERS = [(b"content-type", b"application/json")]
_BODY = b'{"answer":"' + b"x" * (ANSWER_BYTES - 13) + b'"}'


def _answer(exchange: Exchange) -> None:
    exchange.respond(200, _HEADERS, _BODY)


async def _main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = CallerServer(_answer, WireLimits())
    print(await server.start("127.0.0.1", 0), flush=True)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(_main())
