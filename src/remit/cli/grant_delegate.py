"""`remit grant split`, `transfer`, `reclaim` and `why`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from remit.cli.codes import EXIT_DIFFERENCES, EXIT_OK, CommandError
from remit.cli.grant_look import GrantRef, find_grant
from remit.cli.options import By, Json, Where

if TYPE_CHECKING:
    from remit.bootstrap import Authority
    from remit.grants.division import Part
    from remit.grants.model import Grant, Limit
    from remit.grants.service import Answer
    from remit.grants.tree import Tree
    from remit.kernel.periods import PeriodKind

_Usd = Annotated[str | None, Parameter(help="How many dollars of the limit per --per.")]
_Per = Annotated[str, Parameter(help="Period of the limit that --usd is of: day, week, month, quarter or once.")]
_LimitText = Annotated[str | None, Parameter(help="How much of which limit, such as '5000 tokens per day'.")]


def split(
    grant: GrantRef,
    /,
    *,
    into: Annotated[
        tuple[str, ...],
        Parameter(help="A child: NAME=AMOUNT in dollars, or NAME=PERCENT% of what is not handed out; repeatable."),
    ],
    owner: Annotated[
        tuple[str, ...], Parameter(help="Owner of all children, or NAME=OWNER of one; the grant's own if left out.")
    ] = (),
    class_: Annotated[
        tuple[str, ...], Parameter(name="--class", help="Class of all, or NAME=CLASS of one; the grant's if left out.")
    ] = (),
    expires: Annotated[
        tuple[str, ...], Parameter(help="Expiry of all, or NAME=EXPIRY of one; the grant's if left out.")
    ] = (),
    model: Annotated[
        tuple[str, ...], Parameter(help="Model that all may use, or NAME=MODEL for one; repeatable.")
    ] = (),
    per: Annotated[
        str | None, Parameter(help="Period of the limit that is divided, where the grant has several of money.")
    ] = None,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Make several children of a grant at once, all of them or none.

    What does not divide to the nano-dollar stays with the grant.
    """
    from remit.cli.output import print_json, refused
    from remit.cli.session import open_authority
    from remit.grants.division import handed_out
    from remit.grants.serialise import to_body
    from remit.grants.service import NotWritten
    from remit.grants.words import limit_text

    authority = open_authority(where)
    parent = find_grant(_tree(authority), grant)
    parts = _parts(into, parent, {"owner": owner, "class": class_, "expires": expires, "model": model})
    period = None if per is None else _period(per)
    answer = authority.grants.split(parent.id, parts, (by or By()).authorship("remit grant split"), period)
    if isinstance(answer, NotWritten):
        return refused(answer.problems, json=json)
    after = handed_out(_tree(authority), parent, authority.clock.now())
    if json:
        bodies = [{**asdict(one), "left": one.left, "text": one.text()} for one in after]
        children = [to_body(one) for one in answer.grants]
        print_json({"grants": children, "handed_out": bodies, "replayed": answer.replayed})
        return EXIT_OK
    for one in answer.grants:
        print(f"created `{one.path}` with {limit_text(one.limits[0])} for {one.owner}")
    for whole in after:
        print(f"`{parent.path}`: {whole.text()}")
    return EXIT_OK


def transfer(
    source: Annotated[str, Parameter(help="Path or id of the grant that gives.")],
    target: Annotated[str, Parameter(help="Path or id of its sibling that gets.")],
    /,
    *,
    usd: _Usd = None,
    per: _Per = "month",
    limit: _LimitText = None,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Move a part of a limit to a sibling's limit of the same period; only what is unspent in the present period."""
    from remit.cli.session import open_authority

    part = _stated(usd, per, limit)
    if part is None:
        raise CommandError("say how much: --usd, or --limit for anything else")
    authority = open_authority(where)
    tree = _tree(authority)
    giver, taker = find_grant(tree, source), find_grant(tree, target)
    author = (by or By()).authorship("remit grant transfer")
    answer = authority.grants.transfer(giver.id, taker.id, part.dimension, part.period, part.amount, author)
    return _changed(answer, (giver, taker), json=json)


def reclaim(
    grant: GrantRef,
    /,
    *,
    usd: _Usd = None,
    per: _Per = "month",
    limit: _LimitText = None,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Take back what a grant has neither used nor handed on: of every limit, or as much as is said of one.

    Its limits are lowered, never below what is posted and held now or what its own children hold.
    """
    from remit.cli.session import open_authority

    part = _stated(usd, per, limit)
    authority = open_authority(where)
    old = find_grant(_tree(authority), grant)
    answer = authority.grants.reclaim(old.id, (by or By()).authorship("remit grant reclaim"), part)
    return _changed(answer, (old,), json=json)


def why(
    grant: GrantRef,
    /,
    *,
    model: Annotated[str | None, Parameter(help="Would a call of this model pass?")] = None,
    usd: Annotated[str | None, Parameter(help="Would a call that may cost so many dollars pass?")] = None,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """Show why a grant can spend what it can: every limit, restriction and boundary from the root down, and what binds.

    Ends with exit code 1 where the call that is asked about would not pass.
    """
    from remit.cli.grant_why import why_lines
    from remit.cli.output import console, print_json
    from remit.cli.session import open_authority
    from remit.grants.tree import Tree
    from remit.grants.usage import Usage
    from remit.grants.why import why as answer_of

    amount = None if usd is None else _dollars(usd, "--usd")
    authority = open_authority(where)
    now = authority.clock.now()
    with authority.repository.read() as reads:
        tree = Tree(reads.load_tree())
        found = find_grant(tree, grant)
        usage = Usage(reads.used([one.id for one in tree.path_to(found)], now), now)
    answer = answer_of(tree, found, usage, now, model=model, usd=amount)
    if json:
        print_json(asdict(answer))
    else:
        out = console()
        for line in why_lines(answer):
            out.print(line)
    return EXIT_OK if answer.verdict.passes or (model is None and usd is None) else EXIT_DIFFERENCES


def _tree(authority: "Authority") -> "Tree":
    from remit.grants.tree import Tree

    with authority.repository.read() as reads:
        return Tree(reads.load_tree())


def _stated(usd: str | None, per: str, limit: str | None) -> "Limit | None":
    """The part of a limit that the options name; None where they name none. Raises CommandError."""
    from remit.cli.values import parse_limit
    from remit.grants.model import Limit

    if usd is not None and limit is not None:
        raise CommandError("say --usd or --limit, not both")
    if limit is not None:
        return parse_limit(limit)
    return None if usd is None else Limit("usd", _dollars(usd, "--usd"), _period(per))


def _period(text: str) -> "PeriodKind":
    from remit.grants.model import LIMIT_PERIODS

    for kind in LIMIT_PERIODS:
        if text == kind:
            return kind
    raise CommandError(f"--per `{text}` is not one of {', '.join(LIMIT_PERIODS)}")


def _dollars(text: str, option: str) -> int:
    from remit.kernel.money import InvalidAmountError, parse_usd

    try:
        return parse_usd(text.removeprefix("$"))
    except InvalidAmountError as error:
        raise CommandError(f"{option}: {error}") from None


def _parts(into: tuple[str, ...], parent: "Grant", more: dict[str, tuple[str, ...]]) -> "list[Part]":
    """The children as the options describe them. Raises CommandError."""
    from typing import get_args

    from remit.cli.values import parse_moment, parse_names
    from remit.grants.division import Part
    from remit.kernel.decisions import GrantClass

    sizes: dict[str, str] = {}
    for text in into:
        name, equals, size = text.partition("=")
        if not equals or not name or name in sizes:
            raise CommandError(f"--into `{text}` is not NAME=AMOUNT or NAME=PERCENT%, or its name comes twice")
        sizes[name] = size
    said = {option: _by_name(texts, sizes, option) for option, texts in more.items()}
    parts = []
    for name, size in sizes.items():
        own: dict[str, Any] = {
            option: values.get(name) or values.get("")
            for option, values in said.items()
            if values.get(name) or values.get("")
        }
        one_class = own.get("class", [None])[-1]
        if one_class is not None and one_class not in get_args(GrantClass):
            raise CommandError(f"--class `{one_class}` is not one of {', '.join(get_args(GrantClass))}")
        expires = own.get("expires", [None])[-1]
        percent = size.removesuffix("%") if size.endswith("%") else None
        if percent is not None and not (percent.isascii() and percent.isdigit()):
            raise CommandError(f"--into `{name}={size}`: a share is a whole number of percent")
        parts.append(
            Part(
                name=name,
                owner=own.get("owner", [parent.owner])[-1],
                amount=_dollars(size, "--into") if percent is None else None,
                percent=None if percent is None else int(percent),
                grant_class=one_class,
                expires_at=None if expires is None else parse_moment(expires, "--expires", parent.time_zone),
                models=parse_names(own["model"]) if "model" in own else None,
            )
        )
    return parts


def _by_name(texts: tuple[str, ...], names: dict[str, str], option: str) -> dict[str, list[str]]:
    """What an option says of each child; under the empty name what it says of all."""
    found: dict[str, list[str]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        own = bool(equals) and name in names
        if not (value if own else text):
            raise CommandError(f"--{option} `{text}` says nothing")
        found.setdefault(name if own else "", []).append(value if own else text)
    return found


def _changed(answer: "Answer", olds: "tuple[Grant, ...]", *, json: bool) -> int:
    from remit.cli.grant_pages import changed_lines
    from remit.cli.output import print_json, refused
    from remit.grants.serialise import to_body
    from remit.grants.service import NotWritten

    if isinstance(answer, NotWritten):
        return refused(answer.problems, json=json)
    if json:
        print_json({"grants": [to_body(one) for one in answer.grants], "replayed": answer.replayed})
        return EXIT_OK
    for old, new in zip(olds, answer.grants, strict=True):
        if old.revision == new.revision:
            print(f"`{new.path}` is so already, at revision {new.revision}")
            continue
        print(f"changed `{new.path}`, now at revision {new.revision}")
        for line in [] if answer.replayed else changed_lines(old, new):
            print(f"    {line}")
    return EXIT_OK
