"""Settings every test shares; fixtures live in the folder that needs them."""

import signal

from hypothesis import settings

# A script's shell starts what runs in its background with Ctrl-C ignored, and every process under test would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Two shared cores: how long one example takes says nothing. A failure prints the line that replays it.
settings.register_profile("remit", deadline=None, max_examples=100, print_blob=True)
settings.load_profile("remit")
