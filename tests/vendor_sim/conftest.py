"""One vendor process for the whole folder, as new for every test."""

from collections.abc import Iterator

import pytest

from remit.testing.vendor_sim import VendorProcess


@pytest.fixture(scope="session")
def vendor_process() -> Iterator[VendorProcess]:
    with VendorProcess(seed=7) as process:
        yield process


@pytest.fixture
def vendor(vendor_process: VendorProcess) -> VendorProcess:
    vendor_process.reset()
    return vendor_process
