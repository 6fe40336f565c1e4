"""A workspace of Slack: its Web API, and signed presses of its buttons."""

import hashlib
import hmac
import json
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlencode

from remit.testing.peers.base import Asked, Peer, PeerReply

TOKEN = "xoxb-of-the-workspace"  # noqa: S105 - of nobody
SIGNING_SECRET = b"8f742231b10e8888abcd99yyyzzz85a5"
WORKSPACE = "T0001"


class SlackPeer(Peer):
    """Members by id, messages by (channel, ts). A direct message to `U1` is in the channel `DU1`."""

    def __init__(self) -> None:
        super().__init__()
        self.members: dict[str, dict[str, Any]] = {}
        self.messages: dict[tuple[str, str], dict[str, Any]] = {}
        self.whispers: list[dict[str, Any]] = []
        self._numbers = count(1)

    def member(self, user: str, email: str, *, team: str = WORKSPACE, **more: Any) -> None:
        """Somebody in the workspace, or a guest of another."""
        self.members[user] = {"id": user, "team_id": team, "profile": {"email": email}, **more}

    def answer(self, asked: Asked) -> PeerReply:
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return _no("invalid_auth")
        name = asked.path.lstrip("/")
        if name in ("users.lookupByEmail", "users.info"):
            form = {key: values[0] for key, values in parse_qs(asked.body.decode()).items()}
            return self._member(name, form)
        body = asked.json
        if name == "chat.postMessage":
            room = body["channel"] if body["channel"].startswith(("C", "D")) else f"D{body['channel']}"
            ts = f"1700000000.{next(self._numbers):06}"
            self.messages[room, ts] = body
            return PeerReply(body={"ok": True, "channel": room, "ts": ts})
        if name == "chat.update":
            if (body["channel"], body["ts"]) not in self.messages:
                return _no("message_not_found")
            self.messages[body["channel"], body["ts"]] = body
            return PeerReply(body={"ok": True, "channel": body["channel"], "ts": body["ts"]})
        if name == "chat.postEphemeral":
            self.whispers.append(body)
            return PeerReply(body={"ok": True})
        return _no("unknown_method")

    def _member(self, name: str, form: dict[str, str]) -> PeerReply:
        for user, one in self.members.items():
            if name == "users.info" and user == form["user"]:
                return PeerReply(body={"ok": True, "user": one})
            if name == "users.lookupByEmail" and one["profile"]["email"] == form["email"]:
                return PeerReply(body={"ok": True, "user": one})
        return _no("user_not_found" if name == "users.info" else "users_not_found")

    def press(
        self, user: str, place: str, action: str, value: str, *, at: int, team: str = WORKSPACE
    ) -> tuple[dict[str, str], bytes]:
        """Headers and body of a pressed button, signed at a Unix time. `place` is `channel:ts`."""
        room, _, ts = place.partition(":")
        payload = {
            "type": "block_actions",
            "team": {"id": team},
            "user": {"id": user, "team_id": team},
            "container": {"type": "message", "channel_id": room, "message_ts": ts},
            "actions": [{"action_id": action, "value": value, "action_ts": f"{at}.{next(self._numbers)}"}],
        }
        return signed(urlencode({"payload": json.dumps(payload)}).encode(), at)


def signed(body: bytes, at: int, secret: bytes = SIGNING_SECRET) -> tuple[dict[str, str], bytes]:
    """The body with Slack's headers."""
    digest = hmac.new(secret, f"v0:{at}:".encode() + body, hashlib.sha256).hexdigest()
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "x-slack-request-timestamp": str(at),
        "x-slack-signature": f"v0={digest}",
    }
    return headers, body


def _no(error: str) -> PeerReply:
    return PeerReply(body={"ok": False, "error": error})
