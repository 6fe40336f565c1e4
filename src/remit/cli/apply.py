"""`remit apply`: from a grants file to the tree, by way of a plan."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from remit.cli.codes import EXIT_DIFFERENCES, EXIT_OK, CommandError
from remit.cli.options import By, Json, Where

if TYPE_CHECKING:
    from remit.grants.manifest import Manifest
    from remit.grants.plan import Plan

_MAX_FILE_BYTES = 16 * 1024 * 1024


def apply(
    file: Annotated[Path, Parameter(allow_leading_hyphen=True, help="Grants file in YAML; `-` reads standard input.")],
    /,
    *,
    dry_run: Annotated[bool, Parameter(help="Show the plan and change nothing.")] = False,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], help="Do not ask. Needed where nobody can be asked.")] = False,
    prune: Annotated[bool, Parameter(help="Revoke the grants that stand below the file's, but not in it.")] = False,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Make the tree what a grants file says, after showing the plan.

    The plan is carried out as a whole or not at all. On a terminal you are asked first; elsewhere --yes is needed.
    Exit code 1 if the rules forbid the plan or you decline it.
    """
    from remit.cli.output import print_json, refused
    from remit.cli.session import open_authority
    from remit.grants.plan import make_plan
    from remit.grants.render import render_plan
    from remit.grants.service import NotWritten
    from remit.grants.tree import Tree

    manifest = read_manifest(file)
    authority = open_authority(where, create=True)
    with authority.repository.read() as reads:
        tree = Tree(reads.load_tree())
    plan = make_plan(manifest, tree, authority.clock.now(), prune=prune)
    if not json:
        print(render_plan(plan), end="", flush=True)
    if plan.problems or plan.is_empty or dry_run:
        if json:
            print_json(_plan_json(plan, applied=False))
        return EXIT_DIFFERENCES if plan.problems else EXIT_OK
    if not yes and not _confirmed(file):
        print("nothing was changed", file=sys.stderr)
        return EXIT_DIFFERENCES
    answer = authority.grants.apply(plan, (by or By()).authorship(f"remit apply {file.name}"))
    if isinstance(answer, NotWritten):
        return refused(answer.problems, json=json)
    if json:
        print_json(_plan_json(plan, applied=True))
    else:
        print("applied" if not answer.replayed else "applied before, under the same idempotency key")
    return EXIT_OK


def read_manifest(file: Path) -> "Manifest":
    """The manifest of a YAML file. Raises CommandError with everything that is wrong, one line each."""
    import yaml

    from remit.cli.strict_yaml import load_yaml
    from remit.grants.manifest import Manifest, parse_manifest

    name = "standard input" if str(file) == "-" else f"`{file}`"
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        if len(data) > _MAX_FILE_BYTES:
            raise CommandError(f"{name} is larger than {_MAX_FILE_BYTES:,} bytes")
        document = load_yaml(data.decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}".lower()) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise CommandError(f"{name} is not YAML: {_where_and_what(error)}") from None
    parsed = parse_manifest(document)
    if isinstance(parsed, Manifest):
        return parsed
    lines = [f"{name}: {problem.detail}" for problem in parsed]
    raise CommandError("\nremit: ".join(lines))


def _where_and_what(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error).partition("\n")[0] or type(error).__name__
    return f"line {mark.line + 1}, column {mark.column + 1}: {what}" if mark is not None else what


def _confirmed(file: Path) -> bool:
    if str(file) == "-" or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CommandError("nobody can be asked here: add --yes to apply the plan, or --dry-run to only look at it")
    return input("apply this plan? [y/N] ").strip().lower() in ("y", "yes")


def _plan_json(plan: "Plan", *, applied: bool) -> dict[str, Any]:
    return {
        "applied": applied,
        **plan.body(),
        "unchanged": list(plan.unchanged),
        "orphans": [one.path for one in plan.orphans],
        "problems": [asdict(problem) for problem in plan.problems],
    }
