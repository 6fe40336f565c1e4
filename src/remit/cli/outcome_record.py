"""`remit outcome record` and `import`."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from cyclopts import Parameter

from remit.cli.codes import EXIT_OK, CommandError
from remit.cli.options import Actor, By, Json, Where
from remit.cli.values import parse_labels, parse_moment

if TYPE_CHECKING:
    from remit.api.outcome_bodies import OutcomeBody
    from remit.bootstrap import Authority
    from remit.grants.model import Problem
    from remit.outcomes.ports import Known

_AT_ONCE = 500
_MAX_FILE_BYTES = 64 * 1024 * 1024
_MAX_LINE = 64 * 1024
_LISTS = ("operations", "traces")


def record(
    *,
    kind: Annotated[str, Parameter(help="What kind of outcome, such as ticket_resolved.")],
    subject: Annotated[str, Parameter(help="What it is about, as its source calls it, such as a ticket's number.")],
    status: Annotated[Literal["success", "failure", "pending", "reversed"], Parameter(help="What is said of it.")],
    grant: Annotated[str, Parameter(help="Path or id of the grant whose spend, there and below, it is joined to.")],
    source: Annotated[str, Parameter(help="The system of record that says so.")],
    id_: Annotated[str, Parameter(name="--id", help="The source's name for this event; recorded once.")],
    time: Annotated[str | None, Parameter(help="When it happened: date (UTC) or instant; now if left out.")] = None,
    operation: Annotated[tuple[str, ...], Parameter(help="An operation it is about; may be repeated.")] = (),
    trace: Annotated[tuple[str, ...], Parameter(help="A trace it is about, 32 hexadecimal digits.")] = (),
    tag: Annotated[tuple[str, ...], Parameter(help="A tag of the calls it is about, such as ticket=1234.")] = (),
    since: Annotated[str | None, Parameter(help="With --until: all that the grant spent in this span.")] = None,
    until: Annotated[str | None, Parameter(help="End of that span, itself outside.")] = None,
    value_usd: Annotated[str | None, Parameter(help="What the outcome is worth, by the source.")] = None,
    evidence_url: Annotated[str | None, Parameter(help="Where that can be seen.")] = None,
    weight_ppm: Annotated[int | None, Parameter(help="Its weight in shared spend, in millionths. [1000000]")] = None,
    json: Json = False,
    actor: Actor = None,
    where: Where | None = None,
) -> int:
    """Record what a system of record says; the same event again changes nothing."""
    from remit.cli.session import open_authority

    if (since is None) != (until is None):
        raise CommandError("--since and --until make a span: give both or none")
    authority = open_authority(where, create=True)
    now = authority.clock.now()
    stated: dict[str, Any] = {
        "kind": kind, "subject": subject, "status": status, "grant": grant, "source": source, "id": id_,
        "time": now if time is None else parse_moment(time, "--time"),
        "operations": list(operation), "traces": list(trace), "tags": parse_labels(tag, "--tag"),
        "evidence_url": evidence_url,
    }  # fmt: skip
    if since is not None and until is not None:
        stated["window"] = {"since": parse_moment(since, "--since"), "until": parse_moment(until, "--until")}
    if value_usd is not None:
        stated["value_nanousd"] = _nanousd(value_usd, "--value-usd")
    if weight_ppm is not None:
        stated["weight_ppm"] = weight_ppm
    return _told(_kept(authority, [("", _body(stated, ""))], actor), json=json)


def import_(
    file: Annotated[Path, Parameter(help="Events as .jsonl (plain or CloudEvents, one a line) or .csv with a header.")],
    /,
    *,
    json: Json = False,
    actor: Actor = None,
    where: Where | None = None,
) -> int:
    """Record events from a file; a line that cannot be read stops it before anything is recorded.

    Columns of CSV are the fields of an event; `operations` and `traces` hold words with spaces between, `tags` words such as
    ticket=1234, and `value_usd` may stand for `value_nanousd`. Importing a file again changes nothing.
    """
    from remit.cli.session import open_authority

    bodies = list(_read(file))
    if not bodies:
        raise CommandError(f"`{file}` has no events")
    return _told(_kept(open_authority(where, create=True), bodies, actor), json=json)


def _read(file: Path) -> Iterator[tuple[str, "OutcomeBody"]]:
    """The events of a file, each with the place to name where it is wrong. Raises CommandError."""
    try:
        if file.stat().st_size > _MAX_FILE_BYTES:
            raise CommandError(f"`{file}` is larger than {_MAX_FILE_BYTES >> 20} MiB: split it")
        if file.suffix not in (".jsonl", ".csv"):
            raise CommandError(f"`{file}` is neither `.jsonl` nor `.csv`")
        yield from _lines(file) if file.suffix == ".jsonl" else _rows(file)
    except OSError as error:
        raise CommandError(f"cannot read `{file}`: {(error.strerror or str(error)).lower()}") from None


def _lines(file: Path) -> Iterator[tuple[str, "OutcomeBody"]]:
    from remit.api.bodies import read_strictly
    from remit.grants.model import ProblemsError

    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            place = f"`{file}`, line {number}: "
            if len(line) > _MAX_LINE:
                raise CommandError(f"{place}longer than {_MAX_LINE:,} bytes")
            if not line.strip():
                continue
            try:
                stated = read_strictly(line, dict[str, Any])
            except ProblemsError as error:
                raise CommandError(f"{place}{error.problems[0].detail}") from None
            yield place, _body(stated, place)


def _rows(file: Path) -> Iterator[tuple[str, "OutcomeBody"]]:
    import csv

    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            for row in reader:
                place = f"`{file}`, line {reader.line_num}: "
                if None in row or None in row.values():
                    raise CommandError(f"{place}it has not as many cells as the header")
                stated: dict[str, Any] = {name: value for name, value in row.items() if value != ""}
                stated |= {name: stated[name].split() for name in _LISTS if name in stated}
                if "tags" in stated:
                    stated["tags"] = parse_labels(tuple(stated["tags"].split()), f"{place}`tags`")
                if "value_usd" in stated:
                    stated["value_nanousd"] = _nanousd(stated.pop("value_usd"), f"{place}`value_usd`")
                for name in ("value_nanousd", "weight_ppm"):
                    if isinstance(stated.get(name), str) and stated[name].isdigit():
                        stated[name] = int(stated[name][:20])
                yield place, _body(stated, place)
    except (csv.Error, UnicodeDecodeError) as error:
        raise CommandError(f"`{file}` is not CSV in UTF-8: {error}") from None


def _body(stated: dict[str, Any], place: str) -> "OutcomeBody":
    import msgspec

    from remit.api.bodies import require_instants_in_range
    from remit.api.outcome_bodies import OutcomeBody, from_cloudevent
    from remit.grants.model import ProblemsError

    try:
        if "specversion" in stated:
            return from_cloudevent(stated)
        body = msgspec.convert(stated, OutcomeBody)
        require_instants_in_range(body)
    except msgspec.ValidationError as error:
        raise CommandError(f"{place}the event cannot be used: {_why(error)}") from None
    except ProblemsError as error:
        raise CommandError(f"{place}{error.problems[0].detail}") from None
    return body


def _why(error: Exception) -> str:
    """What is wrong, with the words there are where one is none of them."""
    from remit.outcomes.model import Status

    found = re.fullmatch(r"Invalid enum value '(.*)' - at `\$(?:\.data)?\.status`", str(error), re.DOTALL)
    return f"`status` is `{found[1][:60]}`, which is none of {', '.join(get_args(Status))}" if found else str(error)


def _nanousd(text: str, option: str) -> int:
    from remit.kernel.money import InvalidAmountError, parse_usd

    try:
        return parse_usd(text)
    except InvalidAmountError as error:
        raise CommandError(f"{option}: {error}") from None


def _kept(
    authority: "Authority", bodies: "list[tuple[str, OutcomeBody]]", actor: str | None
) -> "list[Known] | list[Problem]":
    """Records events, so many at once; a batch with a problem is the last that is tried."""
    from remit.grants.model import ProblemsError
    from remit.grants.tree import Tree
    from remit.outcomes.ports import Known
    from remit.outcomes.service import assert_outcomes

    with authority.repository.read() as reads:
        tree = Tree(reads.load_tree())
    events = []
    for place, body in bodies:
        grant = tree.find(body.grant)
        if grant is None:
            raise CommandError(f"{place}there is no grant `{body.grant}`", code="grant_unknown", path=body.grant)
        try:
            events.append(body.event(grant.id))
        except ProblemsError as error:
            raise CommandError(f"{place}{error.problems[0].detail}") from None
    who, kept = By(actor=actor).who(), list[Known]()
    for start in range(0, len(events), _AT_ONCE):
        part = events[start : start + _AT_ONCE]
        answer = assert_outcomes(authority.outcomes, tree, who, part, token_id=None, now=authority.clock.now())
        problems = [one for one in answer if not isinstance(one, Known)]
        if problems:
            return problems
        kept += [one for one in answer if isinstance(one, Known)]
    return kept


def _told(answer: "list[Known] | list[Problem]", *, json: bool) -> int:
    from remit.cli.output import print_json, refused
    from remit.outcomes.ports import Known

    problems = [one for one in answer if not isinstance(one, Known)]
    if problems:
        return refused(problems, json=json)
    known = [one for one in answer if isinstance(one, Known)]
    new = sum(one.is_new for one in known)
    if json:
        ids = [one.recorded.outcome_id for one in known]
        print_json({"recorded": new, "known": len(known) - new, "outcomes": list(dict.fromkeys(ids))})
    else:
        print(f"recorded {new:,} event{'' if new == 1 else 's'}; {len(known) - new:,} known before")
    return EXIT_OK
