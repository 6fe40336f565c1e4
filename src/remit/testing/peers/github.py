"""A repository of GitHub: its issues, and signed events."""

import hashlib
import hmac
import json
import re
from itertools import count
from typing import Any

from remit.testing.peers.base import Asked, Peer, PeerReply

TOKEN = "ghp_of-the-bot"  # noqa: S105 - of nobody
SIGNING_SECRET = b"It's a Secret to Everybody"
REPOSITORY = "acme/budgets"
_ISSUES = re.compile(rf"/repos/{REPOSITORY}/issues(?:/(\d+)(/comments)?)?")


class GitHubPeer(Peer):
    """Issues by number. Only `assignable` people can be assigned; what is in `deleted` is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.issues: dict[int, dict[str, Any]] = {}
        self.assignable = {"ann-gh", "bob-gh"}
        self.deleted: set[int] = set()
        self._numbers = count(1)
        self._events = count(1)

    def answer(self, asked: Asked) -> PeerReply:
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return PeerReply(401, {"message": "Bad credentials"})
        found = _ISSUES.fullmatch(asked.path)
        if found is None:
            return PeerReply(404, {"message": "Not Found"})
        if found[1] is None:
            return self._create(asked.json)
        number = int(found[1])
        if number in self.deleted:
            return PeerReply(410, {"message": "This issue was deleted"})
        issue = self.issues.get(number)
        if issue is None:
            return PeerReply(404, {"message": "Not Found"})
        if found[2]:
            issue["comments"].append(asked.json["body"])
            return PeerReply(201, {"id": len(issue["comments"])})
        issue.update(asked.json)
        return PeerReply(200, issue)

    def _create(self, body: dict[str, Any]) -> PeerReply:
        if set(body.get("assignees", [])) - self.assignable:
            return PeerReply(422, {"message": "Validation Failed"})
        number = next(self._numbers)
        self.issues[number] = {**body, "number": number, "state": "open", "comments": []}
        return PeerReply(201, self.issues[number])

    def event(
        self,
        name: str,
        action: str,
        number: int,
        sender: str,
        *,
        repository: str = REPOSITORY,
        performer: str = "User",
        **more: Any,
    ) -> tuple[dict[str, str], bytes]:
        """Headers and body of an event; `more` is what else its payload has."""
        serial = next(self._events)
        issue = {"number": number, "title": "", "labels": [], "id": serial, "user": {"login": sender}}
        payload = {
            "action": action,
            "issue": issue,
            "repository": {"full_name": repository},
            "sender": {"login": sender, "type": performer},
            **more,
        }
        return signed(json.dumps(payload).encode(), name, f"delivery-{serial}")


def signed(body: bytes, event: str, delivery: str, secret: bytes = SIGNING_SECRET) -> tuple[dict[str, str], bytes]:
    """The body with GitHub's headers."""
    headers = {
        "content-type": "application/json",
        "x-github-event": event,
        "x-github-delivery": delivery,
        "x-hub-signature-256": "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest(),
    }
    return headers, body
