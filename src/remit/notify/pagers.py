"""What two pagers have in common: one alert per grant and matter, or per ticket, and when it is over."""

from remit.notify.ports import Message

_URGENT = frozenset({"cap_reached", "forecast_exhaustion", "runaway", "break_glass", "class_mismatch"})


def alert_key(message: Message) -> str:
    """The same for everything said about one ticket, or about one matter of one grant."""
    return f"remit/{message.ticket.id}" if message.ticket else f"remit/{message.path}/{message.kind}"


def is_over(message: Message) -> bool:
    """Whether nobody has to do anything any more."""
    return message.ticket is not None and not message.ticket.is_open


def is_urgent(message: Message) -> bool:
    """Whether somebody is to be woken."""
    return message.kind in _URGENT or (message.ticket is not None and message.ticket.kind == "break_glass")


def details(message: Message) -> dict[str, str]:
    """The facts, and what is asked."""
    return dict(message.facts) | ({"asks": "\n".join(message.asks)} if message.asks else {})
