"""Feeds one receiver with the ledger's entries: in order, at least once, under ids that never change, from a stored place on."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from remit.jobs.carrier import wait_seconds
from remit.notify.calls import Endpoint
from remit.notify.ports import Dead, TryAgain
from remit.notify.signature import HEADER, Signer
from remit.reports.events import CONTENT_TYPES, Shaping, body_of, known_there
from remit.store.postgres_sinks import Begins, PostgresSinks, SinkRow

_log = structlog.get_logger(__name__)
# Of one job: then others have their turn.
_MAX_BATCHES = 200
# What says something about this batch. Any other refusal is about all of them (a wrong token, address, or method): no entry's fault.
_ABOUT_THE_BATCH = frozenset({400, 413, 422})


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSink:
    """A sink that is ready to be fed."""

    name: str
    endpoint: Endpoint
    shaping: Shaping
    kinds: frozenset[str]
    batch: int
    begins: Begins
    signer: Signer | None = None


@dataclass(slots=True)
class _Sent:
    """What became of a batch. `stopped` says why not all of it was tried."""

    delivered: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)
    stopped: TryAgain | Dead | None = None


class Feeder:
    """One sink's work. A receiver that is gone costs nothing but waiting: what is to be sent is the ledger, which is there anyway."""

    def __init__(self, sink: OpenSink, sinks: PostgresSinks, jitter: Callable[[], float] = random.random) -> None:
        self.sink = sink
        self._sinks = sinks
        self._jitter = jitter

    @property
    def name(self) -> str:
        return self.sink.name

    def know(self) -> None:
        """Lets the sink begin where its settings say, if it was not known before."""
        self._sinks.know(self.name, self.sink.begins)

    def round(self) -> int:
        """Sends what is settled and not sent; answers how many entries arrived. Raises what storage raises.

        The place is moved after the receiver's answer: who is stopped in between sends the batch again, under the same ids.
        """
        self.know()
        claimed = self._sinks.claim(self.name)
        if claimed is None:
            return 0
        arrived, at, attempts = 0, claimed.seq, claimed.attempts
        stopped = self._letters()
        for _ in range(_MAX_BATCHES):
            if stopped is not None:
                break
            rows = self._sinks.rows(at, self.sink.batch)
            if not rows:
                break
            sent = self._send([row for row in rows if self._wants(row)])
            stopped = sent.stopped
            if stopped is not None:
                break
            for seq, why in sent.refused:
                _log.error("entry_refused", sink=self.name, seq=seq, error=why)
            if not self._sinks.fed(self.name, at, rows[-1].seq, sent.delivered, sent.refused):
                break  # somebody has put it elsewhere: the next job goes on from there
            arrived, at, attempts = arrived + sent.delivered, rows[-1].seq, 0
        self._end(stopped, attempts)
        return arrived

    def _end(self, stopped: TryAgain | Dead | None, attempts: int) -> None:
        if stopped is None:
            self._sinks.free(self.name)
            return
        asked = stopped.after_seconds if isinstance(stopped, TryAgain) else None
        wait = asked or wait_seconds(attempts + 1, self._jitter())
        if isinstance(stopped, TryAgain):
            _log.warning("sink_not_fed", sink=self.name, error=stopped.why, again_in=wait)
        else:
            _log.error("sink_refused", sink=self.name, error=stopped.why, again_in=wait)
        self._sinks.failed(self.name, stopped.why, wait)

    def _wants(self, row: SinkRow) -> bool:
        return row.entry["kind"] in self.sink.kinds and (row.charged or row.entry["kind"] != "adjustment" or self._all)

    @property
    def _all(self) -> bool:
        """Whether what overdraft paid is wanted as well: then also what adjusts it."""
        return {"overdraft", "repayment"} <= self.sink.kinds

    def _letters(self) -> TryAgain | Dead | None:
        """Tries again what was refused before, one by one; the reason where that had to stop."""
        for row in self._sinks.letters_due(self.name, self.sink.batch):
            sent = self._send([row])
            if sent.stopped is not None:
                return sent.stopped
            refused = sent.refused[0][1] if sent.refused else None
            self._sinks.letter(self.name, row.seq, "dead" if refused else "delivered", refused or "")
        return None

    def _send(self, rows: Sequence[SinkRow]) -> _Sent:
        """Sends a batch; of one that is refused the parts, until it is known whose fault it is."""
        sent = _Sent()
        waiting = [list(rows)] if rows else []
        while waiting:
            part = waiting.pop()
            answer = self._post(part)
            if not isinstance(answer, TryAgain | Dead):
                sent.delivered += len(part)
                continue
            if isinstance(answer, TryAgain) or answer.status not in _ABOUT_THE_BATCH:
                sent.stopped = answer
                return sent
            known = known_there(answer.status, answer.body, len(part), self.sink.shaping.shape)
            sent.delivered += len(known)
            left = [row for number, row in enumerate(part) if number not in known]
            if known:
                waiting += [left] if left else []
            elif len(part) == 1:
                sent.refused.append((part[0].seq, answer.why))
            else:
                # The first half is sent first.
                waiting += [part[len(part) // 2 :], part[: len(part) // 2]]
        return sent

    def _post(self, rows: Sequence[SinkRow]) -> object:
        shaping = self.sink.shaping
        events = body_of([(row.seq, row.entry) for row in rows], shaping)
        body = json.dumps(events, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {"content-type": CONTENT_TYPES[shaping.shape]}
        if self.sink.signer is not None:
            headers[HEADER] = self.sink.signer.header(body)
        return self.sink.endpoint.call("POST", "", raw=body, headers=headers)
