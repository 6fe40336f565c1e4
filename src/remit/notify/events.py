"""A webhook of one's own: CloudEvents 1.0 in structured JSON, signed.

After "CloudEvents - Version 1.0.2", "JSON Event Format" and "HTTP Protocol Binding", section 3.2.
"""

from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from remit.notify.calls import Endpoint
from remit.notify.ports import Dead, Delivered, Message, Outcome, TryAgain
from remit.notify.signature import HEADER, Signer

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Events:
    """Posts each message as an event of the type `remit.<kind>`. `source` is what events say they come from."""

    endpoint: Endpoint
    signer: Signer | None
    source: str

    def deliver(self, message: Message) -> Outcome:
        """Any answer from 200 to 299 takes it. `source` and `id` together tell a repetition."""
        body = msgspec.json.encode(self._event(message))
        headers = {"content-type": CONTENT_TYPE}
        if self.signer is not None:
            headers[HEADER] = self.signer.header(body)
        answer = self.endpoint.call("POST", "", raw=body, headers=headers)
        return answer if isinstance(answer, TryAgain | Dead) else Delivered(str(message.id))

    def _event(self, message: Message) -> dict[str, Any]:
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": str(message.id),
            "source": self.source,
            "type": f"remit.{message.kind}",
            "time": message.created_at,
            "datacontenttype": "application/json",
            "data": {
                "audience": message.audience,
                "recipients": message.recipients,
                "title": message.title,
                "text": message.text,
                "facts": dict(message.facts),
                "ticket": None if message.ticket is None else asdict(message.ticket),
                "body": message.body,
            },
        }
        # An attribute with an empty value is not allowed (section 3.1 of the specification).
        return {**event, "subject": message.path} if message.path else event
