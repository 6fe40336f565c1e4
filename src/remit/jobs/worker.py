"""Works on the job queue, in a thread with an event loop of its own."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import structlog

from remit.store.enqueue import Task
from remit.store.job_queue import job_connector
from remit.store.postgres_jobs import PostgresJobs

if TYPE_CHECKING:
    from procrastinate import App, JobContext

_log = structlog.get_logger(__name__)
MAX_ATTEMPTS = 8
RETRY_SECONDS = 2
RESTART_SECONDS = 2.0
HEARTBEAT_SECONDS = 10.0
STALLED_SECONDS = 30.0
"""A worker that was not heard of for so long is gone: what it was at is done by another one."""
_CONCURRENT = 6
# What the library calls it; a test ends it by force and sees that it is missed.
_HEARTBEAT_TASK = "update_heartbeats"
_TOLD_BY_US = ("job_error", "job_error_retry")

Tasks = Mapping[Task, Callable[[Mapping[str, Any]], object]]


def retry_seconds(attempts: int) -> int:
    """How long a job waits that has failed so many times: 2 seconds, doubling."""
    return int(RETRY_SECONDS << (attempts - 1))


class JobWorker:
    """Works until stopped. Where the database goes away, it begins anew.

    `channels` is how many tasks may hang without keeping the others from running. `poll_seconds` is how late a job begins, at most.
    """

    def __init__(  # noqa: PLR0917 - one parameter per part it is joined from
        self,
        url: str,
        tasks: Tasks,
        jobs: PostgresJobs,
        poll_seconds: float,
        stop_seconds: float,
        channels: int = 0,
        retry_after: Callable[[int], float] = retry_seconds,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._url = url
        self._tasks = tasks
        self._jobs = jobs
        self._poll_seconds = poll_seconds
        self._stop_seconds = stop_seconds
        self._concurrency = _CONCURRENT + channels
        self._retry_after = retry_after
        self._heartbeat_seconds = heartbeat_seconds
        self._stop = threading.Event()
        self._ask: Callable[[], object] | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    @property
    def is_stopping(self) -> bool:
        return self._stop.is_set()

    def stop(self) -> None:
        """Lets running jobs end; what hangs is left behind, and done again by the next worker."""
        self._stop.set()
        with self._lock:
            if self._ask is not None:
                self._ask()
        self._thread.join(self._stop_seconds)

    def _work(self) -> None:
        _tell_through(_FromLibrary())
        while not self._stop.is_set():
            try:
                asyncio.run(self._serve())
            except Exception:  # noqa: BLE001 - logged; it begins anew
                _log.exception("job_worker_failed")
            self._stop.wait(RESTART_SECONDS)

    async def _serve(self) -> None:
        serving = asyncio.create_task(self._run(self._app()))
        loop = asyncio.get_running_loop()
        with self._lock:
            self._ask = lambda: loop.call_soon_threadsafe(serving.cancel)
        try:
            if self._stop.is_set():
                serving.cancel()
            await serving
        except asyncio.CancelledError:
            if not self._stop.is_set():
                raise
        finally:
            with self._lock:
                self._ask = None

    async def _run(self, app: "App") -> None:
        async with app.open_async():
            working = asyncio.create_task(
                app.run_worker_async(
                    queues=["remit"],
                    name="remit",
                    concurrency=self._concurrency,
                    fetch_job_polling_interval=self._poll_seconds,
                    # Whoever may connect may notify, the gateways' login too: no word of anybody's is listened to.
                    listen_notify=False,
                    # A part of the time there is: what was cut off is still to be written down.
                    shutdown_graceful_timeout=self._stop_seconds * 0.6,
                    update_heartbeat_interval=self._heartbeat_seconds,
                    stalled_worker_timeout=self._heartbeat_seconds * STALLED_SECONDS / HEARTBEAT_SECONDS,
                    install_signal_handlers=False,
                )
            )
            watching = asyncio.create_task(self._until_no_heart_beats())
            try:
                await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
                if watching.done():
                    watching.result()
                    _log.error("job_worker_without_heartbeat")
            finally:
                watching.cancel()
                working.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await working

    async def _until_no_heart_beats(self) -> None:
        """Ends when the library's task that says that this worker lives has ended: it does that alone, and nobody there looks.

        What the worker was at would be taken for abandoned, and done by others as well, as long as it went on.
        """
        beats = False
        while True:
            await asyncio.sleep(min(1.0, self._heartbeat_seconds))
            now = any(task.get_name() == _HEARTBEAT_TASK for task in asyncio.all_tasks())
            if beats and not now:
                return
            beats = beats or now

    def _app(self) -> "App":
        from procrastinate import App, BaseRetryStrategy, RetryDecision  # noqa: PLC0415 - only who works needs it
        from procrastinate.jobs import Job  # noqa: PLC0415 - as above

        after = self._retry_after

        class Backoff(BaseRetryStrategy):
            def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
                if job.attempts + 1 >= MAX_ATTEMPTS:
                    return None
                return RetryDecision(retry_in={"milliseconds": int(after(job.attempts + 1) * 1000)})

        app = App(connector=job_connector(self._url))
        for name, work in self._tasks.items():
            app.task(name=name, queue="remit", pass_context=True, retry=Backoff())(self._runs(name, work))
        return app

    def _runs(self, name: str, work: Callable[[Mapping[str, Any]], object]) -> Callable[..., Any]:
        async def run(context: "JobContext", **arguments: Any) -> None:
            try:
                await _in_thread(name, lambda: work(arguments))
            except Exception as error:
                job_id, tried, words = int(context.job.id or 0), context.job.attempts + 1, _words(error)
                if tried >= MAX_ATTEMPTS:
                    _log.exception("job_failed", id=job_id, task=name, attempts=tried)
                else:
                    again = self._retry_after(tried)
                    _log.warning("job_retried", id=job_id, task=name, error=words, again_in=again)
                await _in_thread(name, lambda: self._jobs.failed(job_id, words))
                raise

        return run


async def _in_thread(name: str, work: Callable[[], object]) -> None:
    """Does it in a thread that nobody has to wait for at the end: a receiver that hangs does not hang the process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def end(error: BaseException | None) -> None:
        if not done.done():
            done.set_result(None) if error is None else done.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            work()
        except Exception as raised:  # noqa: BLE001 - raised where it is waited for
            error = raised
        # Whoever was left behind has nobody to tell.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(end, error)

    threading.Thread(target=run, name=f"job {name}", daemon=True).start()
    await done


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip().rstrip(":")


class _FromLibrary(logging.Handler):
    """What the library warns of becomes a line of ours; how jobs end is told by us."""

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "action", "") not in _TOLD_BY_US:
            _log.warning("job_queue_trouble", detail=record.getMessage())


def _tell_through(handler: logging.Handler) -> None:
    handler.setLevel(logging.WARNING)
    for name in ("procrastinate", "psycopg.pool"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
