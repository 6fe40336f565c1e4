"""The running Remits the cases share; a case that stops one or takes its vendor away starts its own."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.support import receiver_of_pages
from tests.system.conftest import name, system
from tests.system.harness import SIM_PRICES, System

__all__ = ["name", "system"]

NOON = "2026-11-17T12:00:00+00:00"  # a Tuesday, in the middle of a day, a week, a month and a quarter


@pytest.fixture(scope="package")
def quick() -> Iterator[System]:
    """A Remit that gives a call two seconds and its hold four."""
    with System(gateway={"request_seconds": 2.0, "hold_seconds": 4.0}) as running:
        yield running


@pytest.fixture(scope="package")
def dated() -> Iterator[tuple[System, list[dict[str, Any]]]]:
    """A Remit that believes it is noon on a certain Tuesday, and what it has posted to its receiver of pages."""
    with receiver_of_pages() as (url, pages):
        settings = f'{SIM_PRICES}\n[notify]\nwebhook_url = "{url}"\n'
        with System(settings=settings, environment={"REMIT_CLOCK_AT": NOON}) as running:
            yield running, pages


@pytest.fixture
def noon(dated: tuple[System, list[dict[str, Any]]]) -> System:
    """The same, with empty books at the vendor."""
    running, _ = dated
    running.vendor.release()
    running.vendor.wait_idle()
    running.vendor.script()
    running.vendor.reset()
    return running
