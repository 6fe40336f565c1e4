"""A project of Jira Cloud: its issues, and signed events."""

import base64
import hashlib
import hmac
import json
import re
from itertools import count
from typing import Any

from remit.testing.peers.base import Asked, Peer, PeerReply

USER = "remit@acme.example"
TOKEN = "ATATT-of-the-bot"  # noqa: S105 - of nobody
SIGNING_SECRET = b"jira's own signing secret"
PROJECT = "BUD"
STATUSES = {"11": "To Do", "21": "Approved", "31": "Declined"}
_ISSUE = re.compile(r"/rest/api/3/issue(?:/([A-Z]+-\d+)/(comment|transitions))?")


class JiraPeer(Peer):
    """Issues by key, each with `fields`, `comments` and `status`."""

    def __init__(self) -> None:
        super().__init__()
        self.issues: dict[str, dict[str, Any]] = {}
        self._numbers = count(1)
        self._events = count(1)

    def answer(self, asked: Asked) -> PeerReply:
        right = "Basic " + base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()
        if asked.headers.get("authorization") != right:
            return PeerReply(401, {"errorMessages": ["Client must be authenticated"]})
        found = _ISSUE.fullmatch(asked.path)
        if found is None:
            return PeerReply(404, {"errorMessages": ["no such route"]})
        if found[1] is None:
            key = f"{PROJECT}-{next(self._numbers)}"
            self.issues[key] = {"fields": asked.json["fields"], "comments": [], "status": "To Do"}
            return PeerReply(201, {"id": "1", "key": key})
        issue = self.issues.get(found[1])
        if issue is None:
            return PeerReply(404, {"errorMessages": ["Issue does not exist or you do not have permission to see it."]})
        if found[2] == "comment":
            issue["comments"].append(asked.json["body"])
            return PeerReply(201, {"id": "1"})
        if asked.method == "GET":
            ways = [{"id": id_, "to": {"name": name}} for id_, name in STATUSES.items() if name != issue["status"]]
            return PeerReply(200, {"transitions": ways})
        issue["status"] = STATUSES[asked.json["transition"]["id"]]
        return PeerReply(204)

    def event(self, name: str, key: str, author: str, **more: Any) -> tuple[dict[str, str], bytes]:
        """Headers and body of an event; `more` is what else its payload has."""
        payload = {
            "timestamp": next(self._events),
            "webhookEvent": name,
            "issue": {"key": key, "fields": {}},
            "user": {"accountId": author, "accountType": "atlassian"},
            **more,
        }
        return signed(json.dumps(payload).encode())


def signed(body: bytes, secret: bytes = SIGNING_SECRET) -> tuple[dict[str, str], bytes]:
    """The body with Jira's headers."""
    digest = hmac.new(secret, body, hashlib.sha256).hexdigest()
    return {"content-type": "application/json", "x-hub-signature": f"sha256={digest}"}, body
