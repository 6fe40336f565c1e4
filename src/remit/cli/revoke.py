"""`remit revoke`: ends a block, a key, a grant or an issuer key, and says when and up to how much that holds."""

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from remit.cli.codes import EXIT_DIFFERENCES, EXIT_OK, CommandError
from remit.cli.once import write_once
from remit.cli.options import By, Json, Where
from remit.cli.values import parse_moment
from remit.cli.words import counted

if TYPE_CHECKING:
    from datetime import datetime

    from remit.bootstrap import Authority
    from remit.grants.model import Problem
    from remit.grants.ports import Remembered
    from remit.grants.revocations import RevocationService, Subject
    from remit.store.postgres_revocations import Acknowledgements, GatewayState, OpenHolds
    from remit.store.postgres_writes import WriteUnit

_MAX_TOKEN_BYTES = 8192
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Before:
    """How things stood when the revocation was written; amounts in nano-USD, None for no limit or where it is not known."""

    subject: "Subject"
    left_nanousd: int | None
    holds: "OpenHolds"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What was written, and what became of it. `before_commit` is a monotonic instant in seconds."""

    before: _Before
    revision: int
    revocation_id: str
    before_commit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What the command line asks for: a word, or the capability that was read in its place."""

    word: str
    token: str | None = field(repr=False)
    cut: bool
    issued_before: "datetime | None"

    def subject(self, service: "RevocationService") -> "Subject | Problem":
        return service.find(self.word, self.issued_before) if self.token is None else service.find_token(self.token)

    def asked(self) -> dict[str, Any]:
        """What two requests under one key are compared by. A capability is a secret: its hash stands for it."""
        from hashlib import sha256

        word = self.word if self.token is None else f"capability {sha256(self.token.encode()).hexdigest()}"
        return {"subject": word, "cut": self.cut, "issued_before": self.issued_before}


def revoke(
    subject: Annotated[
        str,
        Parameter(
            allow_leading_hyphen=True,
            help="Path or id of a grant, id of a key, id of a block or GRANT#DIGITS of it, kid of an issuer key, or - for a "
            "capability that is read from standard input. A prefix says which: grant:, key:, block:, issuer:.",
        ),
    ],
    /,
    *,
    cut: Annotated[bool, Parameter(help="End the calls under way as well; else they finish.")] = False,
    wait: Annotated[bool, Parameter(help="Return when every gateway knows; exit 1 if one does not in time.")] = False,
    timeout: Annotated[str, Parameter(help="How long --wait waits at most, such as 500ms, 10s or 1m.")] = "10s",
    issued_before: Annotated[
        str | None, Parameter(help="Of an issuer key, revoke only what it had signed by this date or instant.")
    ] = None,
    dry_run: Annotated[bool, Parameter(help="Say what would be revoked, and write nothing.")] = False,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Revoke a grant, a key, a capability's block or an issuer key, at every gateway, for good.

    Says what could have been spent, how many gateways know how soon, and what calls under way can still cost.
    """
    from remit.cli.session import open_authority
    from remit.grants.revocations import without_secret

    token = _token(subject)
    seconds = _seconds(timeout)
    authority = open_authority(where)
    cut_off = None if issued_before is None else parse_moment(issued_before, "--issued-before", "UTC")
    wanted = _Wanted(word=without_secret(subject), token=token, cut=cut, issued_before=cut_off)
    if dry_run:
        return _dry_run(authority, wanted, json=json)
    return _revoke(authority, wanted, by or By(), seconds if wait else None, json=json)


def _revoke(authority: "Authority", wanted: _Wanted, by: By, wait_seconds: float | None, *, json: bool) -> int:
    from remit.cli.output import refused
    from remit.grants.model import Problem
    from remit.grants.ports import Remembered
    from remit.store.postgres_revocations import Acknowledgements

    def do(unit: "WriteUnit") -> "tuple[_Told, dict[str, Any]] | Problem":
        service = authority.revocations_over(unit)
        found = wanted.subject(service)
        if isinstance(found, Problem):
            return found
        before = _before(authority, unit, found)
        authorship = by.authorship("remit revoke")
        done = service.revoke(found, authorship, cut=wanted.cut, issued_before=wanted.issued_before)
        if isinstance(done, Problem):
            return done
        now = authority.clock.monotonic()
        told = _Told(before=before, revision=done.tree_revision, revocation_id=done.id, before_commit=now)
        return told, {"id": done.id, "subject": found.name, "kind": found.kind, "revision": done.tree_revision}

    # Opened first: nothing that a gateway says after the commit is missed.
    with Acknowledgements(authority.url) as acknowledgements:
        told = write_once(authority, by, "revoke", wanted.asked(), do)
        if isinstance(told, Problem):
            return refused([told], json=json)
        if isinstance(told, Remembered):
            return _replayed(told, json=json)
        return _after(authority, told, acknowledgements, wait_seconds, json=json)


def _token(subject: str) -> str | None:
    """The capability on standard input, if that is what the word asks for. Raises CommandError."""
    if subject.removeprefix("block:").startswith("rmt1."):
        raise CommandError("a capability is a secret and no argument: `remit revoke -` reads it from standard input")
    if subject != "-":
        return None
    text = sys.stdin.read(_MAX_TOKEN_BYTES + 1).strip()
    if not text.startswith("rmt1.") or len(text) > _MAX_TOKEN_BYTES:
        raise CommandError("standard input holds no capability: that is one text that begins with `rmt1.`")
    return text


def _seconds(text: str) -> float:
    number = text.rstrip("ms")
    unit = text[len(number) :]
    if not number.isascii() or not number.isdigit() or unit not in _UNITS or not 0 < len(number) < 8:
        raise CommandError(f"--timeout: `{text}` is no time such as `500ms`, `10s` or `1m`")
    return int(number) * _UNITS[unit]


def _before(authority: "Authority", unit: "WriteUnit", subject: "Subject") -> _Before:
    from remit.grants.effective import effective
    from remit.grants.tree import Tree

    store, now = unit.revocations, authority.clock.now()
    holds = store.holds_under(*subject.ended)
    if subject.grant is None:
        return _Before(subject=subject, left_nanousd=None, holds=holds)
    with unit.grants.read() as reads:
        nodes = Tree(reads.load_tree()).path_to(subject.grant)
    left = store.money_left(nodes, subject.blocks, now, subject.limits)
    if subject.is_over or effective(nodes).refusal_at(now) is not None:
        left = 0
    return _Before(subject=subject, left_nanousd=left, holds=holds)


def _dry_run(authority: "Authority", wanted: _Wanted, *, json: bool) -> int:
    from remit.cli.output import print_json, refused
    from remit.grants.model import Problem
    from remit.store.connect import connect
    from remit.store.postgres_writes import WriteUnit

    with connect(authority.url, "remit_authority") as connection:
        unit = WriteUnit(connection)
        found = wanted.subject(authority.revocations_over(unit))
        if isinstance(found, Problem):
            return refused([found], json=json)
        before = _before(authority, unit, found)
    if json:
        print_json({"dry_run": True, **_numbers(before)})
    else:
        print(_before_line(before))
        print(f"would revoke {found.name}; nothing was written")
    return EXIT_OK


def _after(
    authority: "Authority",
    told: _Told,
    acknowledgements: "Acknowledgements",
    wait_seconds: float | None,
    *,
    json: bool,
) -> int:
    from remit.cli.output import print_json, remark
    from remit.store.connect import opener
    from remit.store.postgres_revocations import PostgresRevocations, waiting_for

    states = acknowledgements.wait(told.revision, wait_seconds or 0.0)
    milliseconds = max(1, round((authority.clock.monotonic() - told.before_commit) * 1000))
    late, gone = waiting_for(states, told.revision), [one for one in states if one.is_gone]
    subject = told.before.subject
    store = PostgresRevocations(opener(authority.url, "remit_authority"))
    holds = store.holds_under(*subject.ended)
    code = EXIT_DIFFERENCES if wait_seconds is not None and late else EXIT_OK
    if json:
        print_json(
            {
                "id": told.revocation_id,
                **_numbers(told.before),
                "tree_revision": told.revision,
                "milliseconds": milliseconds,
                "gateways": len(states) - len(gone),
                "gateways_that_know": len(states) - len(gone) - len(late),
                "gateways_late": [one.name for one in late],
                "gateways_gone": [{"name": one.name, "seen_at": one.seen_at} for one in gone],
                "calls_under_way": holds.count,
                "at_most_nanousd": holds.ceiling_nanousd,
                "replayed": False,
            }
        )
        return code
    print(_before_line(told.before))
    print(f"revoked {subject.name} at tree revision {told.revision}; no call is admitted from now on")
    print(_after_line(states, told.revision, milliseconds, holds))
    for one in gone:
        print(
            f"    {one.name}: not seen since {one.seen_at:%Y-%m-%d %H:%M:%S}Z: it cannot admit anything without the database"
        )
    if code != EXIT_OK:
        remark(f"remit: not acknowledged in time by {', '.join(one.name for one in late)}")
    return code


def _after_line(states: "list[GatewayState]", revision: int, milliseconds: int, holds: "OpenHolds") -> str:
    living = [one for one in states if not one.is_gone]
    know = sum(one.acknowledged_revision >= revision for one in living)
    spent = f"at most {_usd(holds.ceiling_nanousd)} more can be spent by {_calls(holds.count)}"
    if not holds.count:
        spent = "no call is under way"
    verb = "knows" if len(living) == 1 else "know"
    who = f"{know} of {counted(len(living), 'gateway')} {verb}, {milliseconds} ms after"
    return f"{who if living else 'no gateway runs'}; {spent}"


def _before_line(before: _Before) -> str:
    verb = "holds" if before.holds.count == 1 else "hold"
    calls = f"{_calls(before.holds.count)} {verb} {_usd(before.holds.ceiling_nanousd)}"
    if not before.holds.count:
        calls = "no call was under way"
    subject = before.subject
    if subject.grant is None:
        return f"before: {calls} by what {subject.name} has signed"
    if before.left_nanousd is None:
        return f"before: {subject.name} had no limit in money; {calls}"
    return f"before: {subject.name} could spend {_usd(before.left_nanousd)} more; {calls}"


def _numbers(before: _Before) -> dict[str, Any]:
    subject = before.subject
    return {
        "kind": subject.kind,
        "subject": subject.id,
        "grant": None if subject.grant is None else subject.grant.path,
        "left_before_nanousd": before.left_nanousd,
        "calls_before": before.holds.count,
        "held_before_nanousd": before.holds.ceiling_nanousd,
    }


def _replayed(told: "Remembered", *, json: bool) -> int:
    from remit.cli.output import print_json

    if json:
        print_json({**told.answer, "replayed": True})
    else:
        print(
            f"{told.answer['subject']} was revoked before under this idempotency key, at revision {told.answer['revision']}"
        )
    return EXIT_OK


def _calls(count: int) -> str:
    return counted(count, "running call")


def _usd(amount_nanousd: int) -> str:
    from remit.kernel.money import format_usd

    return format_usd(amount_nanousd)
