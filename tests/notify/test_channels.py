"""Each adapter against a server that speaks its API."""

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from remit.notify.ports import Dead, Delivered, TryAgain
from remit.testing.peers.base import Asked, Fault, Peer, PeerReply
from remit.testing.peers.github import GitHubPeer
from remit.testing.peers.jira import JiraPeer
from remit.testing.peers.pagers import OpsgeniePeer, PagerDutyPeer
from remit.testing.peers.slack import SlackPeer
from tests.notify.letters import NOW, SECRETS, TICKET, message, opened, page, ticket


class Receiver(Peer):
    """Takes events."""

    def answer(self, asked: Asked) -> PeerReply:
        return PeerReply(202)


PEERS: dict[str, type[Peer]] = {
    "slack": SlackPeer, "github": GitHubPeer, "jira": JiraPeer, "events": Receiver, "pagerduty": PagerDutyPeer,
    "opsgenie": OpsgeniePeer,
}  # fmt: skip


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Servers that run until the test ends."""
    with ExitStack() as running:
        yield running


@pytest.mark.parametrize("type_", PEERS)
@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault(status=429, retry_after="37"), (TryAgain, 37)),
        (Fault(status=429, retry_after="Wed, 03 Mar 2027 09:01:00 GMT"), (TryAgain, 61)),
        (Fault(status=500), (TryAgain, None)),
        (Fault(status=503, retry_after="99999999"), (TryAgain, 86_400)),
        (Fault(drops=True), (TryAgain, None)),
        (Fault(delay_seconds=1.0), (TryAgain, None)),
        (Fault(answer_bytes=2 * 1024 * 1024), (TryAgain, None)),
        (Fault(status=302), (Dead, None)),
        (Fault(status=403), (Dead, None)),
    ],
    ids=["429", "429-date", "500", "503", "dropped", "timeout", "oversized", "redirect", "403"],
)
def test_what_passes_is_tried_again_and_what_does_not_is_dead(
    stack: ExitStack, type_: str, fault: Fault, outcome: tuple[type, int | None]
) -> None:
    """Retry-After is honoured, at most a day; no redirect is followed; after the fault the same message arrives."""
    peer = stack.enter_context(PEERS[type_]())
    channel = opened(type_, peer.url, timeout_seconds=0.4).channel
    peer.faults.append(fault)
    got = channel.deliver(message())
    assert isinstance(got, outcome[0]), got
    if isinstance(got, TryAgain):
        assert got.after_seconds == outcome[1] and got.why
    assert len(peer.asked) == 1
    assert isinstance(channel.deliver(message()), Delivered)


@pytest.mark.parametrize("type_", sorted(PEERS.keys() - {"events"}))
def test_a_wrong_token_is_dead_and_not_in_the_reason(stack: ExitStack, type_: str) -> None:
    """The reason is shown to people, and the other side may repeat the secret in it."""
    peer = stack.enter_context(PEERS[type_]())
    right = opened(type_, peer.url)
    SECRETS["WRONG"] = "wrong-but-secret"
    wrong = opened(type_, peer.url, token_env="WRONG")
    got = wrong.channel.deliver(message())
    assert isinstance(got, Dead) and got.why
    assert "wrong-but-secret" not in got.why and "wrong-but-secret" not in repr(wrong)
    for secret in SECRETS.values():
        assert secret not in repr(right)


def test_slack_shows_buttons_until_the_ticket_is_decided(stack: ExitStack) -> None:
    """The message has the ticket's id on two buttons, and is rewritten without them when it is decided."""
    peer = stack.enter_context(SlackPeer())
    channel = opened("slack", peer.url).channel
    first = channel.deliver(message())
    assert isinstance(first, Delivered)
    (place,) = peer.messages
    assert first.remote_ref == ":".join(place)
    (buttons,) = [block for block in peer.messages[place]["blocks"] if block["type"] == "actions"]
    assert [(one["action_id"], one["value"]) for one in buttons["elements"]] == [
        ("remit_approve", TICKET),
        ("remit_decline", TICKET),
    ]
    done = channel.deliver(message("ticket_decided", ticket=ticket("declined"), thread=first.remote_ref))
    assert done == first and len(peer.messages) == 1
    assert not [block for block in peer.messages[place]["blocks"] if block["type"] == "actions"]


def test_slack_finds_people_by_e_mail_and_goes_on_where_it_stopped(stack: ExitStack) -> None:
    """Of two direct messages the one that was sent is not sent again; somebody unknown to Slack is left out."""
    peer = stack.enter_context(SlackPeer())
    peer.member("U1", "ann@acme.example")
    peer.member("U2", "bob@acme.example")
    channel = opened("slack", peer.url, channel=None).channel
    to = ["ann@acme.example", "gone@acme.example", "bob@acme.example"]
    peer.faults.extend([Fault(after=True)] * 4 + [Fault(status=500)])
    stopped = channel.deliver(message(recipients=to))
    assert isinstance(stopped, TryAgain) and stopped.so_far is not None
    assert isinstance(channel.deliver(message(recipients=to, so_far=stopped.so_far)), Delivered)
    assert [room for room, _ in peer.messages] == ["DU1", "DU2"]
    assert isinstance(channel.deliver(message(recipients=["gone@acme.example"])), Dead)


def test_slack_mentions_nobody_that_a_person_wrote(stack: ExitStack) -> None:
    """Control characters of Slack's markup arrive as entities."""
    peer = stack.enter_context(SlackPeer())
    opened("slack", peer.url).channel.deliver(message(ticket=ticket(reason="<!channel> & co")))
    (told,) = peer.messages.values()
    assert "&lt;!channel&gt; &amp; co" in told["blocks"][0]["text"]["text"] and "<!channel>" not in str(told)


def test_github_keeps_a_ticket_as_an_issue(stack: ExitStack) -> None:
    """Created with labels and assignees, commented on, closed when it is decided."""
    peer = stack.enter_context(GitHubPeer())
    channel = opened("github", peer.url).channel
    assert channel.deliver(message()) == Delivered("1")
    issue = peer.issues[1]
    assert issue["labels"] == ["remit", "remit:increase"] and issue["assignees"] == ["bob-gh"]
    assert "asks for $58,000 a month" in issue["body"]
    said = {"by": "ann@acme.example", "text": "please"}
    assert channel.deliver(message("ticket_commented", thread="1", body=said)) == Delivered("1")
    assert issue["comments"] == ["ann@acme.example: please"] and issue["state"] == "open"
    channel.deliver(message("ticket_decided", ticket=ticket("approved"), thread="1"))
    assert issue["state"] == "closed" and issue["state_reason"] == "completed"


def test_github_makes_an_issue_although_nobody_can_be_assigned(stack: ExitStack) -> None:
    """A person who left the repository does not keep the ticket from being seen."""
    peer = stack.enter_context(GitHubPeer())
    peer.assignable.clear()
    assert opened("github", peer.url).channel.deliver(message()) == Delivered("1")
    assert peer.issues[1]["assignees"] == []


@pytest.mark.parametrize("type_", ["github", "jira"])
def test_a_deleted_issue_is_made_again_while_there_is_something_to_decide(stack: ExitStack, type_: str) -> None:
    """Of a ticket that is decided nothing is made; the message is dead, and says why."""
    peer: Any = stack.enter_context(PEERS[type_]())
    channel = opened(type_, peer.url).channel
    gone = channel.deliver(message())
    assert isinstance(gone, Delivered)
    peer.issues.clear()
    again = channel.deliver(message("ticket_escalated", thread=gone.remote_ref))
    assert isinstance(again, Delivered) and again != gone and len(peer.issues) == 1
    peer.issues.clear()
    dead = channel.deliver(message("ticket_decided", ticket=ticket("declined"), thread=again.remote_ref))
    assert isinstance(dead, Dead) and "deleted" in dead.why and not peer.issues


def test_jira_moves_the_issue_of_a_decided_ticket(stack: ExitStack) -> None:
    """Created with label and assignee, commented on and moved; one that is there already is left there."""
    peer = stack.enter_context(JiraPeer())
    channel = opened("jira", peer.url).channel
    assert channel.deliver(message()) == Delivered("BUD-1")
    issue = peer.issues["BUD-1"]
    assert issue["fields"]["labels"] == ["remit"] and issue["fields"]["assignee"] == {"accountId": "bob-gh"}
    for _ in range(2):
        channel.deliver(message("ticket_decided", ticket=ticket("approved"), thread="BUD-1"))
        assert issue["status"] == "Approved"


def test_pages_are_resolved_by_the_ticket_they_are_about(stack: ExitStack) -> None:
    """One alert for all that is said of a ticket, and one for each matter of a grant."""
    duty, genie = stack.enter_context(PagerDutyPeer()), stack.enter_context(OpsgeniePeer())
    for channel in (opened("pagerduty", duty.url).channel, opened("opsgenie", genie.url).channel):
        for told in (message(), message("ticket_escalated"), page(), page()):
            assert isinstance(channel.deliver(told), Delivered)
        channel.deliver(message("ticket_decided", ticket=ticket("approved")))
    matter = "remit/acme/prod/cap_reached"
    assert duty.alerts == {f"remit/{TICKET}": "resolved", matter: "triggered"}
    assert genie.alerts == {f"remit/{TICKET}": "closed", matter: "open"}


def test_an_event_is_a_signed_cloudevent(stack: ExitStack) -> None:
    """Structured JSON with the required attributes; the signature is over the body as it is posted."""
    peer = stack.enter_context(Receiver())
    opened("events", f"{peer.url}/in").channel.deliver(message())
    (asked,) = peer.asked
    assert asked.path == "/in" and asked.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    event = asked.json
    assert {name: event[name] for name in ("specversion", "id", "source", "type", "subject")} == {
        "specversion": "1.0", "id": "7", "source": "remit/events", "type": "remit.ticket_opened",
        "subject": "acme/research",
    }  # fmt: skip
    assert event["data"]["ticket"]["id"] == TICKET
    seconds = str(int(NOW.timestamp()))
    digest = hmac.new(b"sixteen bytes and more", f"{seconds}.".encode() + asked.body, hashlib.sha256).hexdigest()
    assert asked.headers["remit-signature"] == f"t={seconds},v1={digest}"


@pytest.mark.parametrize("url", ["http://hooks.example", "ftp://127.0.0.1", "https://user@hooks.example", "https://"])
def test_only_https_is_called_and_this_machine(url: str) -> None:
    """A token does not go over the network in the clear."""
    from remit.settings import SettingsError

    with pytest.raises(SettingsError, match="not https"):
        opened("github", url)


LINES = ["expiry: 2027-04-04T09:00:00Z -> 2027-05-04T09:00:00Z", "models: gpt-5*, <any>"]
ASKING = ticket(kind="renew", evidence={"asks": LINES})


@pytest.mark.parametrize("type_", PEERS)
def test_what_is_asked_is_said_line_by_line(stack: ExitStack, type_: str) -> None:
    """In every channel's own way, where the ticket is first seen."""
    peer = stack.enter_context(PEERS[type_]())
    assert isinstance(opened(type_, peer.url).channel.deliver(message(ticket=ASKING)), Delivered)
    sent = peer.asked[-1].json
    match type_:
        case "slack":
            assert (
                sent["blocks"][1]["text"]["text"] == f"• {LINES[0].replace('>', '&gt;')}\n• models: gpt-5*, &lt;any&gt;"
            )
        case "github":
            assert f"\n\n- {LINES[0]}\n- models: gpt-5\\*, \\<any>\n\n| | |\n" in sent["body"]
        case "jira":
            texts = [one["content"][0]["text"] for one in sent["fields"]["description"]["content"]]
            assert texts[1:3] == [f"- {line}" for line in LINES]
        case "events":
            assert sent["data"]["ticket"]["asks"] == LINES
        case "pagerduty":
            assert sent["payload"]["custom_details"]["asks"] == "\n".join(LINES)
        case "opsgenie":
            assert sent["details"]["asks"] == "\n".join(LINES)


@pytest.mark.parametrize("type_", ["github", "jira"])
def test_what_is_asked_anew_is_said_in_the_issue(stack: ExitStack, type_: str) -> None:
    """An issue that is there already gets it as a comment; under what somebody said it is not repeated."""
    peer: Any = stack.enter_context(PEERS[type_]())
    channel = opened(type_, peer.url).channel
    first = channel.deliver(message(ticket=ASKING))
    assert isinstance(first, Delivered)
    (issue,) = peer.issues.values()
    channel.deliver(message(ticket=ASKING, thread=first.remote_ref))
    assert LINES[0] in str(issue["comments"])
    issue["comments"].clear()
    said = {"by": "ann@acme.example", "text": "please"}
    channel.deliver(message("ticket_commented", ticket=ASKING, thread=first.remote_ref, body=said))
    assert "please" in str(issue["comments"]) and LINES[0] not in str(issue["comments"])


def test_slack_gets_no_more_lines_than_a_block_takes(stack: ExitStack) -> None:
    """Of a request with very many lines the first whole ones are shown, and where the others are."""
    peer = stack.enter_context(SlackPeer())
    lines = [f"limit per day: {number} tokens -> 5,000 tokens" for number in range(200)]
    opened("slack", peer.url).channel.deliver(message(ticket=ticket(evidence={"asks": lines})))
    (told,) = peer.messages.values()
    *shown, last = told["blocks"][1]["text"]["text"].splitlines()
    assert shown == [f"• {line.replace('>', '&gt;')}" for line in lines[: len(shown)]]
    assert 30 < len(shown) < 200 and "remit ticket show" in last and len(told["blocks"][1]["text"]["text"]) <= 3_000
