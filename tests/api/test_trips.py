"""Trips over the API: who sees them, and who ends them."""

import json
from datetime import timedelta

from remit.kernel.ids import new_id
from remit.store.connect import connect
from tests.api.support import Caller, Plane, refused


def test_trips_are_listed_and_ended_by_those_who_see_the_grant(plane: Plane, admin: Caller) -> None:
    """An admin lists a trip and ends it once, who only sees it does not; again it changes nothing; an unknown one is 404."""
    grant = admin.made("runaway", 10**9)
    now = plane.authority.clock.now()
    body = {
        "id": new_id("trip", now), "grant_id": grant["id"], "scope": "grant", "subject": grant["id"], "rule": "calls",
        "measured": 11, "allowed": 10, "calls": 11, "tags": {"feature": "eval"}, "cool_down_seconds": 300,
        "cool_down_max_seconds": 300,
    }  # fmt: skip
    with connect(plane.url, "remit_gateway") as gateway:
        gateway.execute("SELECT trip_breaker(%s, %s::jsonb)", (now, json.dumps(body)))
    listed = admin.get("/trips", active=True).json()["trips"]
    (one,) = [trip for trip in listed if trip["grant_id"] == grant["id"]]
    assert (one["mode"], one["tags"], one["ended_at"]) == ("throttle", {"feature": "eval"}, None)
    for role in ("auditor", "finance", "approver"):
        assert (
            admin.write("POST", "/roles", {"person": f"{role}@x.example", "role": role, "reason": "x"}).status_code
            == 201
        )
        watcher = plane.caller(f"{role}@x.example")
        assert one["id"] in {trip["id"] for trip in watcher.get("/trips", active=True).json()["trips"]}
        refused(watcher.write("POST", f"/trips/{one['id']}/end", {"reason": "bored"}), 403, "not_permitted")
    ended = admin.write("POST", f"/trips/{one['id']}/end", {"reason": "mended"})
    assert (ended.status_code, ended.json()["reason"]) == (200, "mended")
    again = admin.write("POST", f"/trips/{one['id']}/end", {"reason": "once more"})
    assert again.json()["reason"] == "mended"
    assert one["id"] not in {trip["id"] for trip in admin.get("/trips", active=True).json()["trips"]}
    assert admin.write("POST", "/trips/trip_none/end", {"reason": "x"}).status_code == 404
    since = (now + timedelta(days=1)).isoformat()
    assert admin.get("/security/feed", since=since).json() == {"attempts": []}
