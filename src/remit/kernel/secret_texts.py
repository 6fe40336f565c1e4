"""The forms of texts that are secrets, so that whoever keeps or logs what somebody wrote can leave them out.

Access keys are `rk_`, person tokens `rp_`, each with 12 characters of a public id, `_` and a secret; capabilities are `rmt1.` and
what follows.
"""

import re
from typing import Final

_NAMED: Final = re.compile(r"(r[kp]_)([0-9a-hjkmnp-tv-z]{12})_[A-Za-z0-9_%=-]+")
_CAPABILITY: Final = re.compile(r"rmt1\.[A-Za-z0-9._~%=-]+")


def without_secrets(text: str) -> str:
    """The text with `...` for the secrets in it; public ids stay."""
    return _CAPABILITY.sub("rmt1....", _NAMED.sub(r"\1\2_...", text))


def public_id(text: str) -> str:
    """The id of a whole access key or person token; any other text as it is. What names a thing never has to hold its secret."""
    whole = _NAMED.fullmatch(text)
    return text if whole is None else whole[2]
