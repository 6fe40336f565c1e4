"""Settings every test shares; fixtures live in the folder that needs them."""

import signal

import pytest
from hypothesis import settings

# A script's shell starts what runs in its background with Ctrl-C ignored, and every process under test would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Two shared cores: how long one example takes says nothing. A failure prints the line that replays it.
settings.register_profile("remit", deadline=None, max_examples=100, print_blob=True)
settings.load_profile("remit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: the last to begin decides how long a worker stands idle at the end.

    All others stay in their order, so that what a folder's tests share ends when they do.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
