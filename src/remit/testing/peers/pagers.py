"""PagerDuty's Events API v2 and Opsgenie's Alert API: alerts by their key."""

from urllib.parse import unquote, urlsplit

from remit.testing.peers.base import Asked, Peer, PeerReply

ROUTING_KEY = "R0UT1NGKEY0000000000000000000000"
GENIE_KEY = "genie-key-of-the-team"


class PagerDutyPeer(Peer):
    """`alerts` says of each `dedup_key` whether it is `triggered` or `resolved`."""

    def __init__(self) -> None:
        super().__init__()
        self.alerts: dict[str, str] = {}

    def answer(self, asked: Asked) -> PeerReply:
        event = asked.json
        if asked.path != "/v2/enqueue" or event["routing_key"] != ROUTING_KEY:
            return PeerReply(
                400, {"status": "invalid event", "errors": [f"'{event['routing_key']}' is no routing key"]}
            )
        if event["event_action"] == "trigger":
            payload = event["payload"]
            if payload["severity"] not in ("critical", "error", "warning", "info") or not payload["source"]:
                return PeerReply(400, {"status": "invalid event", "errors": ["the payload is incomplete"]})
        self.alerts[event["dedup_key"]] = {"trigger": "triggered", "resolve": "resolved"}[event["event_action"]]
        return PeerReply(202, {"status": "success", "dedup_key": event["dedup_key"]})


class OpsgeniePeer(Peer):
    """`alerts` says of each alias whether it is `open` or `closed`."""

    def __init__(self) -> None:
        super().__init__()
        self.alerts: dict[str, str] = {}

    def answer(self, asked: Asked) -> PeerReply:
        if asked.headers.get("authorization") != f"GenieKey {GENIE_KEY}":
            return PeerReply(422, {"message": "Key format is not valid!"})
        parts = urlsplit(asked.path)
        if parts.path == "/v2/alerts":
            if len(asked.json["message"]) > 130:
                return PeerReply(422, {"message": "Request body is not processable"})
            self.alerts[asked.json["alias"]] = "open"
            return PeerReply(202, {"result": "Request will be processed"})
        alias = unquote(parts.path.removeprefix("/v2/alerts/").removesuffix("/close"))
        if parts.query != "identifierType=alias":
            return PeerReply(404, {"message": "Alert does not exist"})
        self.alerts[alias] = "closed"
        return PeerReply(202, {"result": "Request will be processed"})
