"""`remit allocate`: rules that divide shared cost between those who pay, and posting what they come to."""

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from remit.cli.codes import EXIT_OK, CommandError
from remit.cli.once import write_once
from remit.cli.options import By, Json, Where

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from remit.api.allocating import RuleTerms
    from remit.grants.model import Problem
    from remit.ledger.allocate import Target
    from remit.store.postgres_writes import WriteUnit

app_command = App(
    name="allocate",
    help="""Divide shared cost between those who pay.

A rule says which cost is divided, and how: by what others used, evenly, or by fixed shares. Posting it moves a month's cost
by transfers that sum to nothing. Entries are never changed, and no limit is used up or freed.
""",
    help_epilogue="",
    group_commands="Commands",
)
Name = Annotated[str, Parameter(help="The rule's name.")]
Month = Annotated[str, Parameter(help="The month whose cost is divided, in UTC, such as 2026-10.")]
_PPM = re.compile(r"(.*):([0-9]{1,7})", re.DOTALL)


@app_command.command(name="set", sort_key=0)
def set_rule(
    name: Name,
    /,
    *,
    owner: Annotated[str, Parameter(help="Who answers for it, by e-mail address.")],
    description: Annotated[str, Parameter(help="What is divided, and why so.")],
    source: Annotated[
        tuple[str, ...],
        Parameter(
            help="Which cost: NAME=VALUE of a dimension or tag, NAME= for none. Repeat it; values of one name are alternatives."
        ),
    ],
    method: Annotated[Literal["by_use", "even", "fixed"], Parameter(help="How it is divided.")],
    measure: Annotated[
        Literal["amount", "tokens", "requests"], Parameter(help="With by_use: the measure of use; amount if left out.")
    ] = "amount",
    use: Annotated[
        tuple[str, ...], Parameter(help="With by_use: whose use counts, as --source; all other if left out.")
    ] = (),
    per: Annotated[
        str, Parameter(help="With by_use: who pays, by grant or by the values of a tag; grant if left out.")
    ] = "grant",
    to: Annotated[
        tuple[str, ...],
        Parameter(
            help="With even and fixed: who pays, as GRANT[,TAG=VALUE...][:SHARE]; GRANT is a path, an id, or . for whoever bears it"
            " now; SHARE are parts per million. Repeat it."
        ),
    ] = (),
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Write a rule as a whole, or its next revision; the same again changes nothing."""
    from remit.api.allocating import RuleTerms
    from remit.api.cost_rules import rule_given
    from remit.cli.session import open_authority
    from remit.grants.model import Problem
    from remit.ledger.allocate import Use
    from remit.ledger.service import conditions

    terms = RuleTerms(
        owner=owner,
        description=description,
        source=conditions(source),
        method=method,
        use=Use(measure=measure, only=conditions(use), by=per) if method == "by_use" else None,
        targets=[_target(text) for text in to],
    )
    if method != "by_use" and (use or per != "grant"):
        raise CommandError(f"--use and --per go with by_use, not with {method}")
    authority = open_authority(where)
    by = by or By()

    def do(unit: "WriteUnit") -> "tuple[dict[str, Any], dict[str, Any]] | Problem":
        made = authority.allocating_over(unit).set(name, terms, by.who(), by.reason or "remit allocate set")
        return made if isinstance(made, Problem) else _twice(rule_given(made))

    return _told(write_once(authority, by, "allocate set", {"cost_rule": name, **_asked(terms)}, do), json=json)


@app_command.command(name="retire", sort_key=1)
def retire_rule(name: Name, /, *, json: Json = False, by: By | None = None, where: Where | None = None) -> int:
    """End a rule: it is posted no more. What it moved stays moved."""
    from remit.api.cost_rules import rule_given
    from remit.cli.session import open_authority
    from remit.grants.model import Problem

    authority = open_authority(where)
    by = by or By()

    def do(unit: "WriteUnit") -> "tuple[dict[str, Any], dict[str, Any]] | Problem":
        made = authority.allocating_over(unit).retire(name, by.who(), by.reason or "remit allocate retire")
        return made if isinstance(made, Problem) else _twice(rule_given(made))

    return _told(write_once(authority, by, "allocate retire", {"cost_rule": name}, do), json=json)


@app_command.command(name="list", sort_key=2)
def list_rules(
    *,
    retired: Annotated[bool, Parameter(name="--all", help="Show retired rules as well.")] = False,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """List the rules that divide cost."""
    from remit.api.cost_rules import rule_given
    from remit.cli.output import print_json, print_table, table
    from remit.cli.session import open_authority

    authority = open_authority(where)
    rules = authority.cost_rules.all(retired=retired)
    if json:
        print_json([_plain(rule_given(one)) for one in rules])
        return EXIT_OK
    if not rules:
        print("no rules: `remit allocate set NAME ...` writes one")
        return EXIT_OK
    paths = _paths(authority)
    shown = table("rule", "revision", "divides", "method", "between", "owner", "description")
    for one in rules:
        between = ", ".join(_target_text(each, paths) for each in one.targets)
        if one.use is not None:
            between = f"{one.use.measure} per {one.use.by} of {_conditions_text(one.use.only) or 'all other'}"
        shown.add_row(
            f"{one.name} (retired)" if one.is_retired else one.name,
            str(one.revision),
            _conditions_text(one.source),
            one.method,
            between,
            one.owner,
            one.description,
        )
    print_table(shown)
    return EXIT_OK


@app_command.command(name="preview", sort_key=3)
def preview_rule(name: Name, /, *, month: Month, json: Json = False, where: Where | None = None) -> int:
    """Show what posting a rule for a month would move now. Changes nothing."""
    from remit.api.allocating import preview
    from remit.api.cost_rules import allocated_given
    from remit.cli.output import refused
    from remit.cli.session import open_authority
    from remit.grants.model import Problem

    divided = _month(month)
    authority = open_authority(where)
    found = preview(authority.cost_rules, name, divided)
    if isinstance(found, Problem):
        return refused([found], json=json)
    return _moved(_plain(allocated_given(found)), _paths(authority), "would move", json=json)


@app_command.command(name="post", sort_key=4)
def post_rule(
    name: Name, /, *, month: Month, json: Json = False, by: By | None = None, where: Where | None = None
) -> int:
    """Post what a rule still has to move in a month; again, only what came since, or nothing.

    Takes two people: a revision is first posted by somebody who did not write it. Nobody posts what they are charged less by.
    """
    from remit.api.cost_rules import allocated_given
    from remit.cli.output import refused
    from remit.cli.session import open_authority
    from remit.grants.model import Problem
    from remit.grants.ports import Remembered

    divided = _month(month)
    authority = open_authority(where)
    by = by or By()

    def do(unit: "WriteUnit") -> "tuple[dict[str, Any], dict[str, Any]] | Problem":
        made = authority.allocating_over(unit).post(name, divided, by.who(), by.reason or "remit allocate post")
        return made if isinstance(made, Problem) else _twice(allocated_given(made))

    done = write_once(authority, by, "allocate post", {"cost_rule": name, "month": month}, do)
    if isinstance(done, Problem):
        return refused([done], json=json)
    told = dict(done.answer) if isinstance(done, Remembered) else done
    if json:
        told = {**told, "replayed": isinstance(done, Remembered)}
    return _moved(told, _paths(authority), "moved", json=json)


def _moved(told: "Mapping[str, Any]", paths: "Mapping[str, str]", verb: str, *, json: bool) -> int:
    from remit.cli.output import print_json, print_table, table
    from remit.kernel.money import format_usd

    if json:
        print_json(told)
        return EXIT_OK
    if told["transfer_id"] is None:
        print(f"nothing left to move of {told['month']} by {told['rule']}")
        return EXIT_OK
    shown = table("grant", "tags", "amount", "share", right=("amount",))
    for sign, moved in ((-1, told["sources"]), (1, told["parts"])):
        for one in sorted(moved, key=lambda each: (paths.get(each["grant_id"], ""), sorted(each["tags"].items()))):
            share = "" if one["weight"] is None else f"{one['weight']:,} of {one['of']:,} {one['unit']}"
            tags = ", ".join(f"{key}={value}" for key, value in sorted(one["tags"].items()))
            grant = paths.get(one["grant_id"], one["grant_id"])
            shown.add_row(grant, tags, format_usd(sign * one["amount_nanousd"]), share)
    print_table(shown)
    late = "" if told["booked_in"] == told["month"] else f", whose books are closed: booked in {told['booked_in']}"
    amount = format_usd(told["amount_nanousd"])
    print(f"{told['rule']} (revision {told['revision']}, {told['method']}) {verb} {amount} of {told['month']}{late}")
    return EXIT_OK


def _told(done: Any, *, json: bool) -> int:
    from remit.cli.output import print_json, refused
    from remit.grants.model import Problem
    from remit.grants.ports import Remembered

    if isinstance(done, Problem):
        return refused([done], json=json)
    told = done.answer if isinstance(done, Remembered) else done
    if json:
        print_json({**told, "replayed": isinstance(done, Remembered)})
    else:
        state = "is retired" if told["is_retired"] else f"divides {_conditions_text(told['source'])} {told['method']}"
        print(f"rule {told['name']} {state} (revision {told['revision']})")
    return EXIT_OK


def _target(text: str) -> "Target":
    from remit.cli.values import parse_labels
    from remit.ledger.allocate import Target

    found = _PPM.fullmatch(text)
    stated, share = (text, None) if found is None else (found[1], int(found[2]))
    grant, *tags = stated.split(",")
    if ":" in grant:
        raise CommandError(f"--to `{text}`: a share is parts per million, such as {grant.partition(':')[0]}:250000")
    return Target(grant_id=None if grant == "." else grant, tags=parse_labels(tuple(tags), "--to"), ppm=share)


def _month(text: str) -> "date":
    from remit.ledger.months import month_of

    try:
        return month_of(text)
    except ValueError as error:
        raise CommandError(f"--month: {error}") from None


def _asked(terms: "RuleTerms") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(terms)


def _paths(authority: Any) -> dict[str, str]:
    with authority.repository.read() as reads:
        return {grant.id: grant.path for grant in reads.load_tree()}


def _conditions_text(only: "Mapping[str, Any]") -> str:
    return ", ".join(f"{name}={value}" for name, values in only.items() for value in values)


def _target_text(one: "Target", paths: "Mapping[str, str]") -> str:
    grant = "." if one.grant_id is None else paths.get(one.grant_id, one.grant_id)
    tags = "".join(f",{name}={value}" for name, value in one.tags.items())
    return f"{grant}{tags}{'' if one.ppm is None else f':{one.ppm}'}"


def _plain(given: Any) -> dict[str, Any]:
    import msgspec

    plain = msgspec.to_builtins(given)
    assert isinstance(plain, dict)
    return plain


def _twice(given: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is answered, and the same to be remembered."""
    return _plain(given), _plain(given)
