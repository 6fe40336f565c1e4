"""Opsgenie: alerts, closed when a ticket is decided.

After Opsgenie's documentation: "Alert API", create alert (alias, responders) and close alert (`identifierType=alias`).
"""

from dataclasses import dataclass
from urllib.parse import quote

from remit.notify.calls import Endpoint
from remit.notify.pagers import alert_key, details, is_over, is_urgent
from remit.notify.ports import Dead, Delivered, Message, Outcome, People, TryAgain


@dataclass(frozen=True, slots=True)
class Opsgenie:
    """Creates and closes alerts; those to people by name name them as responders."""

    endpoint: Endpoint
    people: People

    def deliver(self, message: Message) -> Outcome:
        """`remote_ref` is the alert's alias: the same alert twice is one."""
        alias = alert_key(message)[:512]
        if is_over(message):
            path = f"/v2/alerts/{quote(alias, safe='')}/close?identifierType=alias"
            answer = self.endpoint.call("POST", path, {"note": message.text[:25_000], "source": "remit"})
        else:
            alert = {
                "message": message.title[:130],
                "alias": alias,
                "description": message.text[:15_000],
                "details": details(message),
                "priority": "P1" if is_urgent(message) else "P3",
                "source": "remit",
                "responders": [
                    {"type": "user", "username": self.people.named(person) or person} for person in message.recipients
                ],
            }
            answer = self.endpoint.call("POST", "/v2/alerts", alert)
        return answer if isinstance(answer, TryAgain | Dead) else Delivered(alias)
