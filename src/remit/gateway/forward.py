"""One call to a vendor: what it answers is passed on as it comes, watched, and summed up at the end."""

import asyncio
from typing import Final

import structlog

from remit.gateway.answers import MONEY_TRAILERS
from remit.gateway.settlement import VendorResult
from remit.gateway.wire.exchange import Exchange
from remit.gateway.wire.head import Headers
from remit.gateway.wire.pool import VendorPool
from remit.gateway.wire.vendor import FailureReason, VendorCall
from remit.providers.openai import ResponseFacts, StreamReader, usage_from_response

_log = structlog.get_logger(__name__)
_NO_BODY: Final = frozenset({204, 205})
# A stream that was asked for may be answered whole; that answer is kept in memory and needs a bound of its own.
MAX_WHOLE_ANSWER_BYTES: Final = 64 * 1024 * 1024


class Forwarding:
    """Receives a vendor's response (`VendorSink`). `finished` resolves once, whatever happens.

    A stream is written to the caller as it comes but never finished here: its end, like the whole of any other answer,
    is sent only after the call was settled.
    """

    __slots__ = (
        "_body_bytes",
        "_call",
        "_encoded",
        "_stream_headers",
        "_timer",
        "body",
        "content_type",
        "cut_for",
        "exchange",
        "finished",
        "reader",
        "retry_after",
        "status",
    )

    def __init__(self, exchange: Exchange, stream_headers: Headers | None, *, hide_usage: bool, choices: int) -> None:
        """`stream_headers` go to the caller with the head of a streamed answer; None where no stream was asked for."""
        self.exchange = exchange
        self.finished: asyncio.Future[VendorResult] = asyncio.get_running_loop().create_future()
        self.reader = StreamReader(hide_usage=hide_usage, choices=choices)
        self.status: int | None = None
        self.content_type = b"application/json"
        self.retry_after: bytes | None = None
        self.cut_for: str | None = None
        self._encoded = False
        self.body: list[bytes] = []
        self._body_bytes = 0
        self._stream_headers = stream_headers
        self._call: VendorCall | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, pool: VendorPool, message: bytes, timeout_seconds: float) -> None:
        """Sends the request; at the latest after the timeout `finished` is resolved."""
        exchange = self.exchange
        self._call = call = pool.send(message, self, stream=self._stream_headers is not None)
        exchange.on_pause, exchange.on_resume = call.pause, call.resume
        # A caller who hangs up leaves a vendor call that still costs money: it is read to its end and settled.
        exchange.on_gone = call.resume
        self._timer = asyncio.get_running_loop().call_later(timeout_seconds, self._time_is_up)

    def on_head(self, status: int, headers: Headers) -> None:
        self.status = status
        for name, value in headers:
            if name == b"content-type":
                self.content_type = value
            elif name == b"retry-after" and value.isdigit() and len(value) < 8:
                self.retry_after = value
            elif name == b"content-encoding":
                # It was asked for `identity`; what cannot be read here cannot be priced either.
                self._encoded = self._encoded or value.strip().lower() not in {b"", b"identity"}
        if self._stream_headers is not None and self._streaming:
            self.exchange.start(
                status,
                [
                    *self._stream_headers,
                    (b"content-type", self.content_type),
                    (b"cache-control", b"no-cache"),
                    (b"trailer", MONEY_TRAILERS),
                ],
            )

    def on_body(self, data: bytes) -> None:
        if not self._streaming:
            self.body.append(data)
            self._body_bytes += len(data)
            if self._body_bytes > MAX_WHOLE_ANSWER_BYTES:
                self._give_up("the vendor's answer is too large")
            return
        write = self.exchange.write
        for piece in self.reader.feed(data):
            write(piece)
        if self.reader.problem is not None:
            self._give_up(self.reader.problem)

    def on_complete(self) -> None:
        try:
            if self._streaming:
                for piece in self.reader.finish():
                    self.exchange.write(piece)
        except Exception:  # noqa: BLE001 - whatever it was, the call has to end and its hold with it
            _log.exception("answer_not_read")
            self._finish(VendorResult(sent=True, status=self.status, broken="the vendor's answer cannot be read"))
            return
        broken = None
        if self._encoded:
            broken = "the vendor's answer is encoded, which was not asked for"
        elif self._streaming and not self.reader.done:
            broken = "the vendor's stream ended without `[DONE]`"
        self._finish(VendorResult(sent=True, status=self.status, facts=self._facts(), broken=broken))

    def on_failure(self, reason: FailureReason, sent: bool, head_received: bool) -> None:
        facts = self._facts() if head_received else None
        self._finish(VendorResult(sent=sent, status=self.status, facts=facts, broken=reason))

    def cut(self, reason: str) -> None:
        """Ends the call on both sides at once, unless it has ended by itself; what it cost is found out afterwards."""
        if self.finished.done():
            return
        self.cut_for = reason
        self._give_up(reason)
        if self.streamed:
            self.exchange.abort()

    @property
    def sent(self) -> bool:
        """Whether a byte of the request may have reached the vendor."""
        return self._call is not None and self._call.sent

    @property
    def streamed(self) -> bool:
        """Whether the answer was begun towards the caller already."""
        return self.exchange.started

    @property
    def _streaming(self) -> bool:
        return (
            self._stream_headers is not None
            and self.status is not None
            and 200 <= self.status < 300
            and self.status not in _NO_BODY
            and not self._encoded
            and self.content_type.partition(b";")[0].strip().lower() == b"text/event-stream"
        )

    @property
    def is_json(self) -> bool:
        """Whether the whole answer says of itself that it is JSON."""
        kind = self.content_type.partition(b";")[0].strip().lower()
        return kind == b"application/json" or kind.endswith(b"+json")

    def _facts(self) -> ResponseFacts | None:
        """What the answer states; None where that cannot be found out. Every way a call ends comes by here: never raises."""
        if self._encoded:
            return None
        try:
            return self.reader.facts if self._streaming else usage_from_response(b"".join(self.body))
        except Exception:  # noqa: BLE001 - whatever it was, the call has to end and its hold with it
            _log.exception("answer_not_read")
            return None

    def _time_is_up(self) -> None:
        self._give_up("the time for a request is up")

    def _give_up(self, reason: str) -> None:
        call = self._call
        assert call is not None
        sent = call.sent
        call.abort()
        facts = self._facts() if self.status is not None else None
        self._finish(VendorResult(sent=sent, status=self.status, facts=facts, broken=reason))

    def _finish(self, result: VendorResult) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.finished.done():
            self.finished.set_result(result)
