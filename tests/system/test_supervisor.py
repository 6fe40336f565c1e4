"""The parent of gateway processes: what it starts again, what it ends, and how long it waits for either."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest

from remit.api.people import NewPerson
from remit.cli.supervisor import KILL_MARGIN_SECONDS, GatewayProcesses, restart_wait
from remit.kernel.clock import SystemClock
from remit.settings import GatewaySettings, Settings, VendorSettings
from tests.cli.conftest import HELLO
from tests.store.database import fresh_database
from tests.system.harness import ADMIN, System, free_port, gateway_answers, root


def processes(workers: int = 1, **more: Any) -> GatewayProcesses:
    """Gateway processes over an empty tree, not started yet."""
    gateway = GatewaySettings(listen=f"127.0.0.1:{free_port()}", workers=workers, drain_seconds=0.5)
    vendors = {"openai": VendorSettings(base_url="http://127.0.0.1:1")}
    settings = Settings(gateway=gateway, vendors=vendors, **more)
    return GatewayProcesses(settings, fresh_database(), SystemClock())


@pytest.fixture
def stopping() -> Iterator[list[GatewayProcesses]]:
    """What is put here is stopped at the end."""
    started: list[GatewayProcesses] = []
    yield started
    for one in started:
        one.stop()


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_ready_means_that_every_process_serves(stopping: list[GatewayProcesses]) -> None:
    """Each of them says so itself, so the answer needs no request."""
    gateways = processes(workers=2)
    stopping.append(gateways)
    gateways.start()
    assert gateways.wait_ready(30)
    assert gateway_answers(gateways.port) and len(gateways._running) == 2


def test_a_process_that_dies_before_it_reads_its_order_is_started_again(
    stopping: list[GatewayProcesses], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its order is longer than a pipe holds, so writing it fails; the watching goes on all the same."""
    prices = tuple({"vendor": "v", "model": f"m{number}", "input": "1", "output": "1"} for number in range(3000))
    gateways = processes(prices=prices)
    stopping.append(gateways)
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONHOME", "/nonexistent")
        gateways.start()
        assert not gateways.wait_ready(30)
    until(lambda: gateway_answers(gateways.port))


def test_nothing_starts_once_they_are_to_stop() -> None:
    """A process that was about to be started when the others were signalled would run for ever."""
    gateways = processes()
    gateways.stop()
    assert gateways._spawn(0) is None and not gateways._running


def test_a_process_that_does_not_end_is_killed() -> None:
    """One that hangs has the time it was promised for draining, and no more."""
    gateways = processes()
    gateways.start()
    assert gateways.wait_ready(30)
    (process,) = gateways._running.values()
    os.kill(process.pid, signal.SIGSTOP)
    stop = threading.Thread(target=gateways.stop, daemon=True)
    stop.start()
    stop.join(2 * 0.5 + KILL_MARGIN_SECONDS + 20)
    hangs = stop.is_alive()
    os.kill(process.pid, signal.SIGKILL) if hangs else None
    assert not hangs and process.returncode == -signal.SIGKILL


def test_the_waits_between_starts_grow_and_begin_anew_after_a_steady_time() -> None:
    """What dies at once does not keep a machine busy with starting it."""
    waits, wait = [], 0.0
    for _ in range(7):
        wait = restart_wait(wait, lived_seconds=0.5)
        waits.append(wait)
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert restart_wait(wait, lived_seconds=60.0) == 0.2


def test_a_rehearsed_date_is_one_for_all_and_goes_on() -> None:
    """Control plane and gateways of one `remit up` agree on the time, and a gateway that starts again does not go back."""
    with System(environment={"REMIT_CLOCK_AT": "2031-05-05T12:00:00Z"}) as system:
        system.apply({"dated": root("10.00", starts="2031-01-01")})
        client = system.client(system.key("dated"))
        person = system.authority.people().create(ADMIN.name, ADMIN.name, is_admin=True)
        assert isinstance(person, NewPerson)
        headers = {"authorization": f"Bearer {person.text}", "idempotency-key": "one"}
        body = {"path": "dated/child", "owner": ADMIN.name, "reason": "test"}

        def called() -> datetime:
            client.chat.completions.create(model="sim-dime", messages=HELLO, max_tokens=1)
            ((instant,),) = system.sql("SELECT max(taken_at) FROM holds")
            return instant

        called()
        began = time.monotonic()
        made = httpx.post(f"http://{system.settings.api.listen}/v1/grants", json=body, headers=headers)
        by_authority = datetime.fromisoformat(made.json()["starts_at"])
        first, first_at = called(), time.monotonic()
        assert 0 <= (first - by_authority).total_seconds() <= first_at - began
        system.kill_gateway()
        until(lambda: not gateway_answers(system.port))
        until(lambda: gateway_answers(system.port))
        again_at, again = time.monotonic(), called()
        assert (again - first).total_seconds() >= again_at - first_at
