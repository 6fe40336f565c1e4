"""Tickets over HTTP: asked by one person, decided by another, seen by those it concerns."""

import secrets

import pytest

from tests.api.support import END, Caller, Plane, ref, refused, usd

RITA, SAM, TOM = (f"{name}@acme.example" for name in ("rita", "sam", "tom"))


@pytest.fixture(scope="module")
def rita(plane: Plane) -> Caller:
    """Owner of each test's parent."""
    return plane.caller(RITA)


@pytest.fixture(scope="module")
def sam(plane: Plane) -> Caller:
    """Owner of each test's leaf."""
    return plane.caller(SAM)


@pytest.fixture
def leaf(admin: Caller, name: str) -> str:
    """Sam's $200 below rita's $500 below a root of the admin's."""
    admin.made(name, 1_000_000_000_000)
    admin.made(f"{name}/team", 500_000_000_000, owner=RITA)
    admin.made(f"{name}/team/leaf", 200_000_000_000, owner=SAM)
    return f"{name}/team/leaf"


def _increase(sam: Caller, leaf: str, amount: int = 300_000_000_000, **more: str) -> dict:  # type: ignore[type-arg]
    body = {"grant": leaf, "limits": [usd(amount)], "reason": "more users"}
    answer = sam.write("POST", "/tickets/increase", body, **more)  # type: ignore[arg-type]
    assert answer.status_code == 201, answer.text
    return answer.json()  # type: ignore[no-any-return]


def test_an_increase_is_asked_for_and_approved(sam: Caller, rita: Caller, leaf: str) -> None:
    """The owner of the leaf asks, the owner above finds it in their queue and approves, and the limit is higher."""
    ticket = _increase(sam, leaf)
    assert (ticket["state"], ticket["assignees"]) == ("open", [RITA])
    assert ticket["id"] in [one["id"] for one in rita.get("/tickets", mine="true", in_state="open").json()["tickets"]]
    done = rita.write("POST", f"/tickets/{ticket['id']}/approve", {"reason": "fine"}, if_match=1)
    assert (done.status_code, done.json()["state"], done.headers["etag"]) == (200, "approved", '"2"')
    assert sam.get(f"/grants/{ref(leaf)}").json()["limits"][0]["amount"] == 300_000_000_000
    events = sam.get(f"/tickets/{ticket['id']}").json()["events"]
    assert [(one["who"], one["what"], one["source"]) for one in events] == [
        (SAM, "opened", "api"),
        (RITA, "approved", "api"),
    ]


def test_a_repeated_approval_is_answered_and_not_done_twice(sam: Caller, rita: Caller, leaf: str) -> None:
    """The same key gets the first answer; another key finds the ticket ended."""
    ticket, key = _increase(sam, leaf), secrets.token_hex(8)
    first = rita.write("POST", f"/tickets/{ticket['id']}/approve", {"reason": "fine"}, key=key)
    again = rita.write("POST", f"/tickets/{ticket['id']}/approve", {"reason": "fine"}, key=key)
    assert again.headers["idempotency-replayed"] == "true" and again.json()["revision"] == first.json()["revision"]
    refused(rita.write("POST", f"/tickets/{ticket['id']}/approve", {"reason": "fine"}), 409, "ticket_not_open")
    assert sam.get(f"/grants/{ref(leaf)}").json()["revision"] == 2


def test_the_requester_does_not_decide(sam: Caller, leaf: str) -> None:
    """Neither approving nor declining one's own request is permitted; taking it back is."""
    ticket = _increase(sam, leaf)["id"]
    for verb in ("approve", "decline"):
        refused(sam.write("POST", f"/tickets/{ticket}/{verb}", {"reason": "mine"}), 403, "not_permitted")
    assert sam.write("POST", f"/tickets/{ticket}/withdraw", {"reason": "mine"}).json()["state"] == "withdrawn"


def test_a_stranger_sees_no_ticket(plane: Plane, sam: Caller, leaf: str) -> None:
    """Who is no party to a ticket and does not see its grant is told that there is none, in reads and in writes."""
    ticket, tom = _increase(sam, leaf)["id"], plane.caller(TOM)
    refused(tom.get(f"/tickets/{ticket}"), 404, "ticket_unknown")
    refused(tom.write("POST", f"/tickets/{ticket}/approve", {"reason": "x"}), 404, "ticket_unknown")
    refused(tom.write("POST", f"/tickets/{ticket}/comment", {"text": "x"}), 404, "ticket_unknown")
    assert ticket not in [one["id"] for one in tom.get("/tickets").json()["tickets"]]
    refused(tom.get(f"/tickets/{ticket[:-1]}0"), 404, "ticket_unknown")


def test_a_grant_is_asked_for_by_who_owns_nothing(plane: Plane, rita: Caller, leaf: str) -> None:
    """Anybody asks for a grant below one that exists; the owner there makes it by approving."""
    tom, path = plane.caller(TOM), f"{leaf.rpartition('/')[0]}/idea"
    body = {"path": path, "owner": TOM, "limits": [usd(50_000_000_000)], "expires_at": END, "reason": "an idea"}
    ticket = tom.write("POST", "/tickets/grant", body)
    assert ticket.status_code == 201, ticket.text
    assert rita.write("POST", f"/tickets/{ticket.json()['id']}/approve", {"reason": "go"}).status_code == 200
    assert tom.get(f"/grants/{ref(path)}").json()["owner"] == TOM


def test_the_thread_is_kept(sam: Caller, rita: Caller, leaf: str) -> None:
    """Comments of both sides stand in order, with who said them."""
    ticket = _increase(sam, leaf)["id"]
    rita.write("POST", f"/tickets/{ticket}/comment", {"text": "what for?"})
    sam.write("POST", f"/tickets/{ticket}/comment", {"text": "the launch"})
    events = rita.get(f"/tickets/{ticket}").json()["events"]
    assert [(one["who"], one["text"]) for one in events if one["what"] == "commented"] == [
        (RITA, "what for?"),
        (SAM, "the launch"),
    ]


def test_pages_of_tickets_have_a_cursor(sam: Caller, admin: Caller, name: str) -> None:
    """Every ticket stands on exactly one page."""
    admin.made(name, 1_000_000_000_000)
    made = set()
    for number in range(5):
        admin.made(f"{name}/g{number}", 100_000_000_000, owner=SAM)
        made.add(_increase(sam, f"{name}/g{number}", 110_000_000_000)["id"])
    seen: list[str] = []
    after = None
    while True:
        page = sam.get("/tickets", limit=2, **({} if after is None else {"after": after})).json()
        seen += [one["id"] for one in page["tickets"]]
        after = page["next"]
        if after is None:
            break
    assert len(seen) == len(set(seen)) and made <= set(seen)


def test_a_stale_revision_is_refused(sam: Caller, rita: Caller, leaf: str) -> None:
    """A decision made on an older revision of the ticket is refused."""
    ticket = _increase(sam, leaf)["id"]
    answer = rita.write("POST", f"/tickets/{ticket}/approve", {"reason": "x"}, if_match=7)
    refused(answer, 409, "revision_conflict")


def test_what_gives_more_by_now_is_shown_again_once(admin: Caller, sam: Caller, rita: Caller, leaf: str) -> None:
    """The refusal is kept with its key, the ticket shows the new figures at a new revision, and the next approval stands."""
    ticket = _increase(sam, leaf)["id"]
    assert admin.patch(leaf, limits=[usd(10_000_000_000)]).status_code == 200
    key = secrets.token_hex(8)
    for _ in range(2):
        refused(rita.write("POST", f"/tickets/{ticket}/approve", {"reason": "fine"}, key=key), 409, "look_again")
    assert sam.get(f"/grants/{ref(leaf)}").json()["limits"][0]["amount"] == 10_000_000_000
    shown = rita.get(f"/tickets/{ticket}").json()
    assert (shown["revision"], shown["evidence"]["exposure"]["text"]) == (2, "$10.00 -> $300.00 a month")
    assert shown["evidence"]["asks"] == ["limit per month: $10.00 -> $300.00"]
    assert rita.write("POST", f"/tickets/{ticket}/approve", {"reason": "fine"}, if_match=2).status_code == 200
    assert sam.get(f"/grants/{ref(leaf)}").json()["limits"][0]["amount"] == 300_000_000_000


def test_a_renewal_asks_for_suggested_limits_or_for_stated_ones(admin: Caller, sam: Caller, leaf: str) -> None:
    """Not for both; where its use suggests nothing the limits stay, and the ticket says so."""
    short = f"{leaf}-for-now"
    admin.made(short, 10_000_000_000, owner=SAM, expires_at=f"{int(END[:4]) - 1}{END[4:]}")
    body = {"grant": short, "expires_at": END, "reason": "goes on", "suggested": True}
    refused(sam.write("POST", "/tickets/renew", {**body, "limits": [usd(1_000_000_000)]}), 422, "limits_twice")
    ticket = sam.write("POST", "/tickets/renew", body)
    assert ticket.status_code == 201, ticket.text
    assert ticket.json()["effect"]["limits"] is None
    assert ticket.json()["evidence"]["suggestion"]["text"] == "no other limits are suggested by its use"


def test_who_asks_below_unseen_grants_learns_nothing_of_them(
    plane: Plane, admin: Caller, rita: Caller, leaf: str
) -> None:
    """Who asks for a new grant is not told the worst case, which comes from limits above; whom it waits for is."""
    tom, parent = plane.caller(TOM), leaf.rpartition("/")[0]
    grant = admin.get(f"/grants/{ref(parent)}").json()
    body = {"path": f"{parent}/x", "owner": TOM, "limits": [{"dimension": "requests", "amount": 1, "period": "month"}]}
    asked = tom.write("POST", "/tickets/grant", {**body, "reason": "please"})
    assert asked.status_code == 201 and asked.json()["assignees"] == [RITA]
    ticket = asked.json()["id"]
    assert rita.get(f"/tickets/{ticket}").json()["evidence"]["exposure"]["after_nanousd"] == 500_000_000_000
    assert admin.patch(parent, limits=[usd(600_000_000_000)]).status_code == 200
    refused(rita.write("POST", f"/tickets/{ticket}/approve", {"reason": "fine"}), 409, "look_again")
    assert "$600.00" in rita.get(f"/tickets/{ticket}").text
    (listed,) = [one for one in tom.get("/tickets").json()["tickets"] if one["id"] == ticket]
    told = tom.get("/tickets").text + tom.get(f"/tickets/{ticket}").text + asked.text
    assert listed["evidence"] == {"raises": []} and "has changed since" in told
    assert not any(secret in told for secret in ("500000000000", "600000000000", "$500", "$600", grant["id"]))
    assert rita.write("POST", f"/tickets/{ticket}/approve", {"reason": "fine"}).status_code == 200
    kinds = "SELECT kind FROM notifications WHERE ticket_id = %s AND body ? 'exposure'"
    assert {row[0] for row in plane.sql(kinds, ticket)} == {"ticket_opened"}
    assert "exposure" not in tom.get(f"/tickets/{ticket}").json()["evidence"]["done"]


def test_who_asks_a_sibling_learns_nothing_of_it(plane: Plane, admin: Caller, rita: Caller, leaf: str) -> None:
    """A transfer shows its limits and its use to who sees the giver, and to who asks what rises of their own."""
    own, tom = f"{leaf.rpartition('/')[0]}/own", plane.caller(TOM)
    admin.made(own, 10_000_000_000, owner=TOM)
    body = {"source": leaf, "target": own, "limit": usd(1_000_000_000), "reason": "please"}
    asked = tom.write("POST", "/tickets/transfer", body)
    assert asked.status_code == 201, asked.text
    (rise,) = asked.json()["evidence"]["raises"]
    assert asked.json()["evidence"].keys() == {"raises"} and (rise["path"], rise["after"]) == (own, 11_000_000_000)
    assert {"exposure", "use", "refusals"} < rita.get(f"/tickets/{asked.json()['id']}").json()["evidence"].keys()


def test_a_token_held_to_one_grant_has_no_part_in_other_tickets(
    plane: Plane, admin: Caller, sam: Caller, leaf: str
) -> None:
    """It neither shows nor lists, comments on or takes back what is about another grant; of its own it does."""
    other = f"{leaf.rpartition('/')[0]}/other"
    admin.made(other, 10_000_000_000, owner=SAM)
    ticket, own = _increase(sam, leaf)["id"], _increase(sam, other, 20_000_000_000)["id"]
    made = sam.write("POST", "/tokens", {"purpose": "a tool", "grant": other})
    assert made.status_code == 201, made.text
    held = plane.bearer(made.json()["secret"])
    refused(held.get(f"/tickets/{ticket}"), 404, "ticket_unknown")
    for verb, body in (("comment", {"text": "hm"}), ("withdraw", {"reason": "hm"})):
        refused(held.write("POST", f"/tickets/{ticket}/{verb}", body), 404, "ticket_unknown")
    assert [one["id"] for one in held.get("/tickets").json()["tickets"]] == [own]
    assert held.get("/tickets", mine="true").json()["tickets"] == []
    assert held.get(f"/tickets/{own}").status_code == 200
    assert held.write("POST", f"/tickets/{own}/withdraw", {"reason": "hm"}).json()["state"] == "withdrawn"
