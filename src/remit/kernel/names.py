"""Forms of names that several folders read: tags, people, patterns of models."""

import re
from typing import Final

TAG_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
"""The name of a tag of a request, which is also a label of a capability and a dimension of a report."""

PERSON_NAME: Final = re.compile(r"[^\s@<>,;\"'`/]{1,64}@[A-Za-z0-9][A-Za-z0-9.-]{0,252}")
"""The e-mail address of a person: owner of a grant, holder of a person token. The two are compared."""


def model_matches(pattern: str, model: str) -> bool:
    """Whether a model name is covered by an exact name or by a prefix with a trailing `*`."""
    return model.startswith(pattern[:-1]) if pattern.endswith("*") else model == pattern
