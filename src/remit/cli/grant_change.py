"""`remit grant create`, `edit`, `renew`, `activate`, `suspend`, `resume` and `revoke`."""

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from remit.cli.codes import EXIT_DIFFERENCES, EXIT_OK, CommandError
from remit.cli.grant_look import GrantRef, find_grant
from remit.cli.grant_terms import UNSET_NAMES, Terms, with_limits
from remit.cli.options import By, Json, Where
from remit.cli.values import parse_moment
from remit.cli.words import counted

if TYPE_CHECKING:
    from remit.bootstrap import Authority
    from remit.grants.model import Grant
    from remit.grants.service import Answer
    from remit.store.postgres_writes import WriteUnit

_Owner = Annotated[str | None, Parameter(help="E-mail address of the person who answers for the spend.")]


def create(
    path: Annotated[str, Parameter(help="Path of the new grant; its parent is one level up.")],
    /,
    *,
    owner: Annotated[str, Parameter(help="E-mail address of the person who answers for the spend.")],
    requested: Annotated[bool, Parameter(help="It can spend nothing, and holds no share, before `activate`.")] = False,
    terms: Terms | None = None,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Create a grant below its parent, or a root.

    A root has to say --class and --expires; below it, what is left out is taken from the parent.
    """
    from remit.cli.session import open_authority
    from remit.grants.edits import NewGrant
    from remit.grants.fields import path_problem
    from remit.grants.model import parent_path_of
    from remit.grants.tree import Tree

    wrong = path_problem(path)
    if wrong:
        raise CommandError(wrong)
    terms = terms or Terms()
    authority = open_authority(where, create=True)
    with authority.repository.read() as reads:
        parent = Tree(reads.load_tree()).at_path(parent_path_of(path) or "")
    zone = _checked_zone(terms.time_zone) or (parent.time_zone if parent else "UTC")
    blank = NewGrant(path=path, owner=owner)
    stated = terms.fields(blank, zone) | {"limits": with_limits((), terms.limit, ())}
    new = NewGrant(path=path, owner=owner, status="requested" if requested else "active", **stated)
    answer = authority.grants.create(new, (by or By()).authorship("remit grant create"))
    return _said(answer, "created", None, json=json)


def edit(
    grant: GrantRef,
    /,
    *,
    owner: _Owner = None,
    terms: Terms | None = None,
    unset_limit: Annotated[
        tuple[str, ...], Parameter(help="Take a limit away, such as 'usd per day'; repeatable.")
    ] = (),
    unset: Annotated[
        tuple[str, ...], Parameter(help=f"Take a term away: one of {', '.join(UNSET_NAMES)}; repeatable.")
    ] = (),
    expected_revision: Annotated[
        int | None, Parameter(help="Change nothing unless the grant is at this revision.")
    ] = None,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Change some terms of a grant; the others stay as they are.

    --limit replaces the limit of the same dimension and period, or adds one. Whatever was spent or is under way in the
    period counts against the new limit.
    """
    from remit.cli.session import open_authority
    from remit.grants.edits import GrantEdit

    terms = terms or Terms()
    wrong = [name for name in unset if name not in UNSET_NAMES]
    if wrong:
        raise CommandError(f"`{wrong[0]}` cannot be unset; known are {', '.join(UNSET_NAMES)}")
    authority = open_authority(where)
    old = _stored(authority, grant)
    zone = _checked_zone(terms.time_zone) or old.time_zone
    stated = terms.fields(old, zone, tuple(name.replace("-", "_") for name in unset))
    if terms.limit or unset_limit:
        stated["limits"] = with_limits(old.limits, terms.limit, unset_limit)
    if owner is not None:
        stated["owner"] = owner
    if not stated:
        raise CommandError("nothing to change: name at least one term")
    by = by or By()
    # What was merged above is only right for the revision it was read from. A repeat under the caller's own key has to
    # be the same request, though, and the first one has moved the revision on.
    expected = old.revision if expected_revision is None and by.idempotency_key is None else expected_revision
    answer = authority.grants.change(old.id, GrantEdit(**stated), by.authorship("remit grant edit"), expected)
    return _said(answer, "changed", old, json=json)


def renew(
    grant: GrantRef,
    /,
    *,
    expires: Annotated[str, Parameter(help="The new expiry, later than the old: date or instant.")],
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Move a grant's expiry later; an expired grant becomes active again."""
    from remit.cli.session import open_authority

    authority = open_authority(where)
    old = _stored(authority, grant)
    expires_at = parse_moment(expires, "--expires", old.time_zone)
    answer = authority.grants.renew(old.id, expires_at, (by or By()).authorship("remit grant renew"))
    return _said(answer, "renewed", old, json=json)


def activate(
    grant: GrantRef,
    /,
    *,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Make a requested grant active. From here on it holds its share of what stands above it, if that still fits."""
    from remit.cli.session import open_authority

    authority = open_authority(where)
    old = _stored(authority, grant)
    answer = authority.grants.activate(old.id, (by or By()).authorship("remit grant activate"))
    return _said(answer, "activated", old, json=json)


def suspend(
    grant: GrantRef,
    /,
    *,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Stop spending from a grant and everything below it at once; `resume` undoes it. Calls under way are settled."""
    from remit.cli.session import open_authority

    authority = open_authority(where)
    old = _stored(authority, grant)
    answer = authority.grants.suspend(old.id, (by or By()).authorship("remit grant suspend"))
    return _said(answer, "suspended", old, json=json)


def resume(
    grant: GrantRef,
    /,
    *,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Let a suspended grant spend again."""
    from remit.cli.session import open_authority

    authority = open_authority(where)
    old = _stored(authority, grant)
    answer = authority.grants.resume(old.id, (by or By()).authorship("remit grant resume"))
    return _said(answer, "resumed", old, json=json)


def revoke(
    grant: GrantRef,
    /,
    *,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], help="Do not ask, on a terminal either.")] = False,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """End a grant and everything below it, for good: its path is never used again and its keys are dead.

    On a terminal you are asked first. To stop spending for a while, use `suspend`.
    """
    from remit.cli.asking import can_ask, confirmed
    from remit.cli.session import open_authority

    authority = open_authority(where)
    old = _stored(authority, grant)
    grants, keys = _ending(authority, old)
    ending = f"{counted(grants, 'grant')} below it and {counted(keys, 'key')} end with it"
    again = old.status == "revoked"
    if not again and not yes and can_ask() and not confirmed(f"revoke `{old.path}` for good? {ending}"):
        return EXIT_DIFFERENCES
    answer = _revoked(authority, old.id, by or By())
    code = _said(answer, "revoked", old, json=json, more={"ended": {"grants_below": grants, "keys": keys}})
    if code == EXIT_OK and not again and not json:
        print(f"    {ending}")
    return code


def _revoked(authority: "Authority", grant_id: str, by: By) -> "Answer":
    """Ends the grant, with a record of it beside all other revocations."""
    from dataclasses import replace

    from remit.cli.once import write_once
    from remit.grants.model import Problem
    from remit.grants.ports import Remembered
    from remit.grants.serialise import from_body, to_body
    from remit.grants.service import NotWritten, Written

    # Drawn once: the history of the grant and the remembered answer name the same key.
    author = by.authorship("remit grant revoke")
    by = replace(by, idempotency_key=author.idempotency_key)

    def do(unit: "WriteUnit") -> "tuple[Written, dict[str, Any]] | Problem":
        answer = authority.revocations_over(unit).revoke_grant(grant_id, author)
        if isinstance(answer, NotWritten):
            return answer.problems[0]
        return answer, {"grants": [to_body(one) for one in answer.grants]}

    done = write_once(authority, by, "grant revoke", {"grant": grant_id}, do)
    if isinstance(done, Problem):
        return NotWritten((done,))
    if isinstance(done, Remembered):
        return Written(grants=tuple(from_body(one) for one in done.answer["grants"]), replayed=True)
    return done


def _ending(authority: "Authority", grant: "Grant") -> tuple[int, int]:
    """How many grants below and keys a revocation takes with it: those that are not revoked already."""
    from remit.grants.tree import Tree

    if grant.status == "revoked":
        return 0, 0
    with authority.repository.read() as reads:
        tree = Tree(reads.load_tree())
    below = []
    open_ = [grant]
    while open_:
        found = [child for child in tree.children(open_.pop().id) if child.status != "revoked"]
        below += found
        open_ += found
    ids = {grant.id, *(one.id for one in below)}
    keys = sum(key["revoked_at"] is None and key["grant_id"] in ids for key in authority.key_store.list(None))
    return len(below), keys


def _stored(authority: "Authority", ref: str) -> "Grant":
    from remit.grants.tree import Tree

    with authority.repository.read() as reads:
        return find_grant(Tree(reads.load_tree()), ref)


def _checked_zone(name: str | None) -> str | None:
    from remit.grants.fields import zone_problem

    wrong = None if name is None else zone_problem(name)
    if wrong:
        raise CommandError(f"--time-zone: {wrong}")
    return name


def _said(answer: "Answer", deed: str, old: "Grant | None", *, json: bool, more: "dict[str, Any] | None" = None) -> int:
    from remit.cli.grant_pages import changed_lines
    from remit.cli.output import print_json, refused
    from remit.grants.serialise import to_body
    from remit.grants.service import NotWritten

    if isinstance(answer, NotWritten):
        return refused(answer.problems, json=json)
    grant = answer.grant
    if json:
        print_json({"grant": to_body(grant), "replayed": answer.replayed, **(more or {})})
    elif old is not None and grant.revision == old.revision:
        print(f"`{grant.path}` is so already, at revision {grant.revision}")
    else:
        print(f"{deed} `{grant.path}`, now at revision {grant.revision}")
        for line in [] if old is None or answer.replayed else changed_lines(old, grant):
            print(f"    {line}")
    return EXIT_OK
