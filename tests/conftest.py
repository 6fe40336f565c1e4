"""Settings every test shares; fixtures live in the folder that needs them."""

from hypothesis import settings

# Two shared cores: how long one example takes says nothing. A failure prints the line that replays it.
settings.register_profile("remit", deadline=None, max_examples=100, print_blob=True)
settings.load_profile("remit")
