"""`remit person leave`, `return` and `delegate`: people as records, not their tokens."""

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from remit.cli.codes import EXIT_OK
from remit.cli.once import write_once
from remit.cli.options import By, Json, Where
from remit.cli.words import counted

if TYPE_CHECKING:
    from remit.grants.model import Problem
    from remit.store.postgres_writes import WriteUnit

Name = Annotated[str, Parameter(help="E-mail address.")]


def leave_person(
    name: Name,
    /,
    *,
    successor: Annotated[str | None, Parameter(help="Who owns their grants from now on.")] = None,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Say that a person left: no token of theirs works and no role stands, in one transaction.

    Their grants go to the successor. Of those that cannot, and of all without a successor, whoever answers above is told.
    Once more with a successor, it hands over what still is theirs.
    """
    from remit.cli.output import print_json, refused
    from remit.cli.session import open_authority
    from remit.grants.model import Problem
    from remit.grants.ports import Remembered

    authority = open_authority(where)
    by = by or By()
    authorship = by.authorship(f"{name} left")

    def do(unit: "WriteUnit") -> "tuple[dict[str, Any], dict[str, Any]] | Problem":
        left = authority.roster_over(unit).leave(name, successor, authorship)
        if isinstance(left, Problem):
            return left
        told = {
            "name": left.person.name,
            "successor": left.person.successor,
            "moved": list(left.moved),
            "ownerless": list(left.ownerless),
            "tokens_revoked": left.tokens_revoked,
            "roles_ended": left.roles_ended,
            "tickets_handed_on": list(left.tickets.handed_on),
            "tickets_withdrawn": list(left.tickets.withdrawn),
            "was_known": left.was_known,
        }
        return told, told

    done = write_once(authority, by, "person leave", {"name": name, "successor": successor}, do)
    if isinstance(done, Problem):
        return refused([done], json=json)
    told = done.answer if isinstance(done, Remembered) else done
    if json:
        print_json({**told, "replayed": isinstance(done, Remembered)})
        return EXIT_OK
    _print_left(dict(told))
    return EXIT_OK


def _print_left(told: dict[str, Any]) -> None:
    from remit.cli.output import remark

    ended = f"{counted(told['tokens_revoked'], 'token')} revoked, {counted(told['roles_ended'], 'role')} ended"
    if not told.get("was_known", True):
        remark(f"nobody was known here as `{told['name']}`, and nothing was theirs: is it spelled right?")
    print(f"{told['name']} left; {ended}")
    for path in told["moved"]:
        print(f"    {path}: now of {told['successor']}")
    for path in told["ownerless"]:
        print(f"    {path}: ownerless")
    # An answer that is remembered from before says nothing of tickets.
    for ticket in told.get("tickets_handed_on", ()):
        print(f"    {ticket}: handed on")
    for ticket in told.get("tickets_withdrawn", ()):
        print(f"    {ticket}: withdrawn")


def return_person(name: Name, /, *, json: Json = False, by: By | None = None, where: Where | None = None) -> int:
    """Let a person who left come back: without the tokens, roles and grants they had."""
    from remit.cli.session import open_authority
    from remit.grants.model import Problem

    authority = open_authority(where)
    by = by or By()

    def do(unit: "WriteUnit") -> "tuple[dict[str, Any], dict[str, Any]] | Problem":
        back = authority.roster_over(unit).come_back(name, by.who())
        if isinstance(back, Problem):
            return back
        told = {"name": back.name, "status": back.status}
        return told, told

    done = write_once(authority, by, "person return", {"name": name}, do)
    return _say(done, f"{name} is back; `remit person create {name}` makes a token", json=json)


def delegate_person(
    name: Name,
    delegate: Annotated[str | None, Parameter(help="Who stands in for them; nobody any more if left out.")] = None,
    /,
    *,
    until: Annotated[str | None, Parameter(help="Date (UTC) or instant; required with a delegate.")] = None,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Have somebody stand in for a person until an instant."""
    from remit.cli.codes import CommandError
    from remit.cli.output import instant_text
    from remit.cli.session import open_authority
    from remit.cli.values import parse_moment
    from remit.grants.model import Problem

    if (delegate is None) != (until is None):
        raise CommandError("a delegate stands in until an instant: state DELEGATE and --until, or neither")
    authority = open_authority(where)
    by = by or By()
    end = None if until is None else parse_moment(until, "--until", "UTC")

    def do(unit: "WriteUnit") -> "tuple[dict[str, Any], dict[str, Any]] | Problem":
        person = authority.roster_over(unit).delegate(name, delegate, end, by.who())
        if isinstance(person, Problem):
            return person
        told = {
            "name": person.name,
            "delegate": person.delegate,
            "until": None if person.delegate_until is None else instant_text(person.delegate_until),
        }
        return told, told

    done = write_once(authority, by, "person delegate", {"name": name, "delegate": delegate, "until": until}, do)
    text = f"nobody stands in for {name}" if delegate is None else f"{delegate} stands in for {name} until {until}"
    return _say(done, text, json=json)


def _say(done: Any, text: str, *, json: bool) -> int:
    from remit.cli.output import print_json, refused
    from remit.grants.model import Problem
    from remit.grants.ports import Remembered

    if isinstance(done, Problem):
        return refused([done], json=json)
    told = done.answer if isinstance(done, Remembered) else done
    if json:
        print_json({**told, "replayed": isinstance(done, Remembered)})
    else:
        print(text)
    return EXIT_OK
