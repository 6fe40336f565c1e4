"""PagerDuty: alerts, resolved when a ticket is decided.

After PagerDuty's documentation: "Events API v2", "Send an Alert Event".
"""

from dataclasses import dataclass, field
from typing import Any

from remit.notify.calls import Endpoint
from remit.notify.pagers import alert_key, details, is_over, is_urgent
from remit.notify.ports import Dead, Delivered, Message, Outcome, TryAgain


@dataclass(frozen=True, slots=True)
class PagerDuty:
    """Triggers and resolves alerts of one integration; its routing key is a secret."""

    endpoint: Endpoint
    routing_key: str = field(repr=False)

    def deliver(self, message: Message) -> Outcome:
        """`remote_ref` is the alert's `dedup_key`: the same alert twice is one."""
        key = alert_key(message)
        event: dict[str, Any] = {"routing_key": self.routing_key, "dedup_key": key[:255]}
        if is_over(message):
            event["event_action"] = "resolve"
        else:
            event["event_action"] = "trigger"
            event["payload"] = {
                "summary": message.text[:1024],
                "source": message.path or "remit",
                "severity": "critical" if is_urgent(message) else "warning",
                "timestamp": message.created_at.isoformat(),
                "class": message.kind,
                "custom_details": details(message),
            }
        answer = self.endpoint.call("POST", "/v2/enqueue", event)
        return answer if isinstance(answer, TryAgain | Dead) else Delivered(key[:255])
