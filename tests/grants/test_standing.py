"""The status in effect: the worst of what stands on the way to the root."""

from datetime import timedelta

import pytest

from remit.grants.standing import standing_of
from tests.grants.builders import World, by, written


@pytest.mark.parametrize(
    ("top", "own", "text"),
    [
        ("active", "active", "active"),
        ("suspend", "active", "suspended with acme"),
        ("suspend", "suspend", "suspended"),
        ("suspend", "revoke", "revoked"),
        ("revoke", "active", "revoked with acme"),
        ("active", "suspend", "suspended"),
    ],
)
def test_what_ends_more_wins_and_the_grant_itself_comes_first(top: str, own: str, text: str) -> None:
    """Of two grants in one state the lower is named as itself; otherwise the one above."""
    world = World()
    world.made("acme")
    world.made("acme/lab")
    for path, verb in (("acme/lab", own), ("acme", top)):
        if verb != "active":
            written(getattr(world.service, verb)(path, by()))
    grant = world.tree().find("acme/lab")
    assert grant is not None
    assert standing_of(world.tree(), grant, world.clock.now()).text("acme/lab") == text


def test_the_earliest_expiry_binds() -> None:
    """An expiry above counts as soon as it has passed, before any status says so."""
    world = World()
    top = world.made("acme")
    grant = world.made("acme/lab")
    standing = standing_of(world.tree(), grant, top.expires_at - timedelta(seconds=1))
    assert (standing.status, standing.expires_at) == ("active", min(top.expires_at, grant.expires_at))
    assert standing_of(world.tree(), grant, top.expires_at).status == "expired"
