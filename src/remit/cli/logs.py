"""Logs go to standard error, one JSON object a line; secrets never reach them."""

import json
import logging
import sys
from typing import Any

import msgspec
import structlog


def set_up_logs(*, quiet: bool = False) -> None:
    """Sets logging up for a process; `quiet` keeps warnings and errors only."""
    level = logging.WARNING if quiet else logging.INFO
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(_serialise),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def _serialise(event: Any, **_: Any) -> str:
    """JSON of an event; what JSON has no form for stands as its `repr`."""
    try:
        return msgspec.json.encode(event, enc_hook=repr).decode()
    except UnicodeEncodeError:
        # Half a surrogate pair, from wherever: a line that cannot be written must not end what it tells of.
        return json.dumps(event, default=repr)
