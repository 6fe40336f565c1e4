"""One chat call from arrival to its row in the books, whatever happens to the caller meanwhile.

The vendor's view: work once begun is done and billed. A caller that hangs up changes that only where the script says
`stop_on_disconnect`, and then what was generated until that moment is billed.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from remit.testing.vendor_sim import faults, wire
from remit.testing.vendor_sim.books import Outcome, Row
from remit.testing.vendor_sim.connection import Connection, Request
from remit.testing.vendor_sim.generation import Generation

if TYPE_CHECKING:
    from remit.testing.vendor_sim.server import VendorSim

STREAM_TYPE: Final = b"text/event-stream; charset=utf-8"
_NO_CACHE: Final = b"cache-control: no-cache\r\n"
_WRITE_BYTES: Final = 64 * 1024
_SHORT_STREAM_CHUNKS: Final = 200
_NEVER: Final = -1


class Call:
    """A running chat call. `work` is what will be done; at most one row is written for it."""

    __slots__ = (
        "_billed", "_books", "_due", "_ending", "_fault_met", "_hanging", "_pause_at", "_request", "_step_count", "_steps_done", "_timer", "_waiting",
        "_writer",
        "connection", "received_at", "request_id", "sim", "work",
    )  # fmt: skip

    def __init__(self, sim: "VendorSim", connection: Connection, request: Request, work: Generation) -> None:
        self.sim = sim
        self.connection = connection
        self.work = work
        self.request_id = sim.new_request_id()
        self.received_at = sim.clock.now()
        self._request = request
        self._books = sim.books
        self._billed = False
        self._fault_met: bool | None = None  # None until it is decided
        self._hanging = False
        self._timer: asyncio.Handle | None = None
        self._waiting: asyncio.Handle | None = None  # the timer of the latency, while that is what is waited for
        self._writer: wire.StreamWriter | None = None
        self._ending: Callable[[], None] = self._end_stream
        self._step_count = 0
        self._steps_done = 0
        self._pause_at = _NEVER  # the step after which the stream waits to be released
        self._due: float = 0  # loop time of the next step

    @property
    def created(self) -> int:
        return int(self.received_at.timestamp())

    @property
    def steps_done(self) -> int:
        return self._steps_done

    def start(self) -> None:
        self.connection.call = self
        self.sim.inflight.add(self)
        seconds = self.sim.latency_seconds(self.work.script)
        if seconds:
            self._waiting = self._timer = self.sim.loop.call_later(seconds, self._answer)
        else:
            self._answer()

    def is_paused(self) -> bool:
        """Whether the call waits out its latency, or its stream pauses."""
        return self._stream_pauses() or (self._waiting is not None and self._waiting is self._timer)

    def release(self) -> bool:
        """Go on now if the call waits out its latency, or where its stream pauses; whether it did."""
        if not self.is_paused():
            return False
        if self._waiting is not None:
            self._waiting.cancel()
            self._answer()
            return True
        self._pause_at = _NEVER
        if self._timer is not None:
            self._timer.cancel()
        if self.connection.closed:
            self._complete_unread()
        elif self.work.script.chunk_ms and self._steps_done < self._step_count:
            self._due = self.sim.loop.time()
            self._wait_for_step()
        else:
            self._pump()
        return True

    def cancel(self) -> None:
        """Forget the call: the vendor itself stops, nothing more is billed."""
        if self._timer is not None:
            self._timer.cancel()
        self.sim.inflight.discard(self)

    def finish(self) -> None:
        """The vendor has nothing more to do for this call."""
        self.cancel()
        if self.connection.call is self:
            self.connection.answered()

    def bill(self, *, outcome: Outcome = "completed", status: int | None = 200, generated: int | None = None) -> None:
        """Write the row. `generated` is tokens per choice where the work was cut short."""
        assert not self._billed
        self._billed = True
        if outcome == "completed" and self.connection.closed:
            outcome = "aborted"
        work = self.work
        tokens, amount_nanousd = work.bill(generated)
        books = self._books
        books.add(
            Row(
                sequence=len(books.rows) + 1,
                vendor_request_id=f"chatcmpl-{self.request_id.decode()}",
                client_request_id=self._request.header(b"x-client-request-id"),
                idempotency_key=self._request.header(b"idempotency-key"),
                received_at=self.received_at,
                finished_at=self.sim.clock.now(),
                requested_model=work.requested_model,
                model=work.prices.name,
                service_tier=work.tier,
                prompt_tokens=tokens.prompt_tokens,
                cached_tokens=tokens.cached_tokens,
                cache_write_tokens=tokens.cache_write_tokens,
                completion_tokens=tokens.completion_tokens,
                reasoning_tokens=tokens.reasoning_tokens,
                amount_nanousd=amount_nanousd,
                outcome=outcome,
                status=status,
            )
        )

    # what the connection tells

    def caller_lost(self) -> None:
        """The caller has hung up."""
        script = self.work.script
        faulty = script.has_fault if self._fault_met is None else self._fault_met
        if self._hanging:
            self.finish()
        elif script.stop_on_disconnect and not faulty:
            self.bill(outcome="aborted", status=200 if self._writer else None, generated=self._generated())
            self.finish()
        elif self._writer is not None:
            # The rest is generated without anyone to read it, in the time it would have taken.
            if self._timer is not None:
                self._timer.cancel()
            self._complete_unread()

    def caller_ready(self) -> None:
        """What was written has gone out."""
        if self._writer is not None and self._timer is None:
            self._timer = self.sim.loop.call_soon(self._pump)

    # the answer

    def _answer(self) -> None:
        self._timer = self._waiting = None
        self._fault_met = self.work.script.has_fault and self.sim.meets_fault(self.work)
        if self._fault_met:
            faults.play(self)
        elif self.work.stream and self._is_short_stream():
            self.bill()
            head = wire.head(200, STREAM_TYPE, None, self.request_id, extra=_NO_CACHE)
            self.write(head + wire.whole_stream(self.work, self.request_id, self.created))
            self.finish()
        elif self.work.stream:
            self.start_stream()
        else:
            body = wire.completion_json(self.work, self.request_id, self.created)
            self.bill()
            self.send(200, wire.JSON_TYPE, body)

    def send(self, status: int, content_type: bytes, body: bytes, *, extra: bytes = b"") -> None:
        """Write a whole answer and finish."""
        self.cancel()
        if self.connection.call is self:
            head = wire.head(status, content_type, len(body), self.request_id, extra=extra)
            self.connection.answer(head + body)

    def _is_short_stream(self) -> bool:
        """Whether the stream goes out at once and is small enough to keep for the next call like it."""
        chunks = self.work.choices * self.work.visible_tokens // self.work.script.tokens_per_chunk
        script = self.work.script
        plain = script.content != "tool_call" and self._request.chunked  # a tool call has an id inside
        paced = script.chunk_ms or script.pause_after_chunks is not None
        return plain and not paced and chunks <= _SHORT_STREAM_CHUNKS

    def hang(self) -> None:
        """Give no answer for as long as the caller waits."""
        self._hanging = True
        if self.connection.closed:
            self.finish()

    def later(self, seconds: float, action: Callable[[int], None], argument: int) -> None:
        """Do the next part of the answer after a pause."""
        self._timer = self.sim.loop.call_later(seconds, action, argument)

    def write(self, data: bytes) -> None:
        if not self.connection.closed:
            self.connection.transport.write(data)

    def write_event(self, data: bytes) -> None:
        """Write a piece of the stream, framed if the caller's HTTP version has frames."""
        self.write(self._frame(data))

    def start_stream(self, *, steps: int | None = None, ending: Callable[[], None] | None = None) -> None:
        """Begin the event stream; a fault may end it in its own way after some steps."""
        work = self.work
        self._step_count = -(-work.visible_tokens // work.script.tokens_per_chunk)
        if steps is not None:
            self._step_count = min(steps, self._step_count)
        if ending is not None:
            self._ending = ending
        pause_at = work.script.pause_after_chunks
        if pause_at is not None and pause_at <= self._step_count:
            self._pause_at = pause_at
        self._writer = writer = wire.StreamWriter(work, self.request_id, self.created)
        if self.connection.closed:
            self._complete_unread()
            return
        opening = self.stream_head() + self._frame(writer.opening())
        if work.script.chunk_ms and self._step_count:
            self.connection.transport.write(opening)
            self._due = self.sim.loop.time()
            if not self._stream_pauses():
                self._wait_for_step()
        else:
            self._pump(opening)

    def stream_head(self) -> bytes:
        """The head of an event stream; without frames the end of the connection ends the body."""
        if self._request.chunked:
            return wire.head(200, STREAM_TYPE, None, self.request_id, extra=_NO_CACHE)
        head = wire.head(200, STREAM_TYPE, None, self.request_id, extra=b"connection: close\r\n")
        return head.replace(b"transfer-encoding: chunked\r\n", b"")

    def last_frame(self) -> bytes:
        return wire.LAST_FRAME if self._request.chunked else b""

    def _frame(self, data: bytes) -> bytes:
        return wire.framed(data) if self._request.chunked else data

    def _wait_for_step(self) -> None:
        # Counted from the start, not from the last step, so that delays do not add up.
        self._due += self.work.script.chunk_ms / 1000
        self._timer = self.sim.loop.call_at(self._due, self._timed_step)

    def _timed_step(self) -> None:
        step = self._frame(self._next_step())
        self.connection.transport.write(step)
        if self._stream_pauses():
            self._timer = None
        elif self._steps_done < self._step_count:
            self._wait_for_step()
        else:
            self._ending()

    def _pump(self, pending: bytes = b"") -> None:
        """Write as much of an undelayed stream as the caller takes."""
        self._timer = None
        pieces = [pending]
        size = 0
        while self._steps_done < self._step_count and size < _WRITE_BYTES and not self._stream_pauses():
            step = self._next_step()
            pieces.append(self._frame(step))
            size += len(step)
        self.connection.transport.write(b"".join(pieces))
        if self._stream_pauses():
            return
        if self._steps_done >= self._step_count:
            self._ending()
        elif not self.connection.paused and self._timer is None:
            self._timer = self.sim.loop.call_soon(self._pump)

    def _next_step(self) -> bytes:
        assert self._writer is not None
        per_step = self.work.script.tokens_per_chunk
        first = self._steps_done * per_step
        self._steps_done += 1
        return self._writer.step(first, min(per_step, self.work.visible_tokens - first))

    def _end_stream(self) -> None:
        assert self._writer is not None
        self.bill()
        self.write(self._frame(self._writer.end()) + self.last_frame())
        self.finish()

    def _stream_pauses(self) -> bool:
        return self._writer is not None and self._steps_done == self._pause_at

    def _complete_unread(self) -> None:
        if self._steps_done <= self._pause_at:
            self._steps_done = self._pause_at
            return
        steps = self._step_count - self._steps_done
        self._timer = self.sim.loop.call_later(steps * self.work.script.chunk_ms / 1000, self._ending)

    def _generated(self) -> int:
        """Tokens per choice generated so far; reasoning comes first, nothing before the first byte."""
        if self._writer is None:
            return 0
        shown = min(self._steps_done * self.work.script.tokens_per_chunk, self.work.visible_tokens)
        return self.work.reasoning_tokens + shown
