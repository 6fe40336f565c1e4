"""Receivers of usage: a plain one of CloudEvents, OpenMeter's and Lago's. Each keeps one event of an id, as they do."""

from typing import Any

from remit.testing.peers.base import Asked, Peer, PeerReply

BATCH = "application/cloudevents-batch+json"
USAGE_TOKEN = "usage-token-of-the-receiver"  # noqa: S105 - of a fake
_REQUIRED = ("specversion", "id", "source", "type")
_MAX_LAGO = 100


class EventsPeer(Peer):
    """CloudEvents 1.0 in batches. `kept` are events by source and id; `posted` are all that came; `refuses` ids are answered 400."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], dict[str, Any]] = {}
        self.posted: list[str] = []
        self.refuses: set[str] = set()

    @property
    def ids(self) -> list[str]:
        """Of what was kept, in the order in which it first came."""
        return [one for _, one in self.kept]

    def answer(self, asked: Asked) -> PeerReply:
        if asked.headers.get("content-type", "").partition(";")[0] != BATCH:
            return PeerReply(415, {"message": "not a batch of CloudEvents"})
        events = asked.json
        for event in events:
            if any(not event.get(name) for name in _REQUIRED) or event["specversion"] != "1.0":
                return PeerReply(400, {"message": "not a CloudEvent"})
            if event["id"] in self.refuses:
                return PeerReply(400, {"message": f"event {event['id']} is not taken"})
        for event in events:
            self.posted.append(event["id"])
            self.kept.setdefault((event["source"], event["id"]), event)
        return PeerReply(204)


class OpenMeterPeer(EventsPeer):
    """`POST /api/v1/events` with a key; each event needs a subject and a value."""

    def answer(self, asked: Asked) -> PeerReply:
        if asked.path != "/api/v1/events":
            return PeerReply(404, {"title": "Not Found", "status": 404})
        if asked.headers.get("authorization") != f"Bearer {USAGE_TOKEN}":
            return PeerReply(401, {"title": "Unauthorized", "status": 401})
        if any(not event.get("subject") or "value" not in event["data"] for event in asked.json):
            return PeerReply(
                400, {"title": "Bad Request", "status": 400, "detail": "an event has no subject or no value"}
            )
        return super().answer(asked)


class LagoPeer(Peer):
    """`POST /api/v1/events/batch`. A batch with a `transaction_id` that is known is refused whole, with 422, saying which."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, dict[str, Any]] = {}

    def answer(self, asked: Asked) -> PeerReply:
        if asked.path != "/api/v1/events/batch":
            return PeerReply(404, {"status": 404, "error": "Not Found"})
        if asked.headers.get("authorization") != f"Bearer {USAGE_TOKEN}":
            return PeerReply(401, {"status": 401, "error": "Unauthorized"})
        events = asked.json["events"]
        wrong: dict[str, Any] = {}
        if len(events) > _MAX_LAGO:
            wrong = {"events": ["too_many_events"]}
        for number, event in enumerate(events):
            if not event.get("code") or not event.get("external_subscription_id"):
                wrong[str(number)] = {"code": ["value_is_mandatory"]}
            elif event["transaction_id"] in self.kept:
                wrong[str(number)] = {"transaction_id": ["value_already_exist"]}
        if wrong:
            body = {"status": 422, "error": "Unprocessable Entity", "code": "validation_errors", "error_details": wrong}
            return PeerReply(422, body)
        self.kept.update({event["transaction_id"]: event for event in events})
        return PeerReply(200, {"events": events})


class CollectorPeer(Peer):
    """An OpenTelemetry collector's OTLP/HTTP receiver in JSON. `spans` and `metrics` are what came, with their attributes plain."""

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[dict[str, Any]] = []
        self.metrics: dict[str, list[dict[str, Any]]] = {}

    def answer(self, asked: Asked) -> PeerReply:
        if asked.headers.get("content-type") != "application/json":
            return PeerReply(415)
        if asked.path == "/v1/traces":
            for resource in asked.json["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    self.spans += [{**span, "attributes": plain(span["attributes"])} for span in scope["spans"]]
        elif asked.path == "/v1/metrics":
            for resource in asked.json["resourceMetrics"]:
                for scope in resource["scopeMetrics"]:
                    for metric in scope["metrics"]:
                        data = metric.get("histogram") or metric["sum"]
                        points = [{**one, "attributes": plain(one["attributes"])} for one in data["dataPoints"]]
                        self.metrics[metric["name"]] = points
        else:
            return PeerReply(404)
        return PeerReply(200, {"partialSuccess": {}})


def plain(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    """Attributes of OTLP by name."""
    return {one["key"]: _value(one["value"]) for one in attributes}


def _value(value: dict[str, Any]) -> Any:
    ((kind, found),) = value.items()
    if kind == "arrayValue":
        return [_value(one) for one in found["values"]]
    return int(found) if kind == "intValue" else found
