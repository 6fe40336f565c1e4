"""`remit jobs`: what the authority does in the background."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from remit.cli.codes import EXIT_OK, CommandError
from remit.cli.once import write_once
from remit.cli.options import By, Json, Where

if TYPE_CHECKING:
    from remit.store.postgres_writes import WriteUnit

_MAX_COUNT = 100_000
_STATES = Literal["scheduled", "due", "running", "failed", "done", "cancelled"]
app_command = App(name="jobs")


@app_command.default
def jobs(
    *,
    state: Annotated[
        tuple[_STATES, ...],
        Parameter(help="Show jobs of this state; may be repeated. Else those due, running and failed."),
    ] = ("due", "running", "failed"),
    count: Annotated[int, Parameter(name=["--count", "-n"], help="How many at most; 50 if left out.")] = 50,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """Count jobs by task and state, and list those that are due, run, or failed for good with the last error.

    Jobs are done by `remit up`. Instants are of the machine's clock, also in a rehearsal of another date.
    """
    from remit.cli.output import moment_text, print_json, print_table, table
    from remit.cli.session import open_authority

    if not 1 <= count <= _MAX_COUNT:
        raise CommandError(f"--count is a number from 1 to {_MAX_COUNT:,}")
    queue = open_authority(where).jobs
    counts, rows = queue.counts(), queue.listed(state, 0, count)
    if json:
        print_json({"counts": counts, "jobs": rows})
        return EXIT_OK
    if not counts:
        print("no jobs")
        return EXIT_OK
    _print_counts(counts)
    if rows:
        print()
        shown = table("id", "what", "state", "since", "attempts", "last error", right=("id", "attempts"))
        for row in rows:
            since = moment_text(row["since"]) if row["since"] else ""
            error = " ".join((row["error"] or "").split())
            shown.add_row(str(row["id"]), row["key"] or row["task"], row["state"], since, str(row["attempts"]), error)
        print_table(shown)
    return EXIT_OK


@app_command.command
def retry(job: int, /, *, by: By | None = None, where: Where | None = None) -> int:
    """Try a job again that failed for good.

    The number is the id that `remit jobs` shows. All attempts are before it again.
    """
    from remit.cli.output import refused
    from remit.cli.session import open_authority
    from remit.grants.model import Problem
    from remit.grants.ports import Remembered

    def do(unit: "WriteUnit") -> "tuple[str, dict[str, Any]] | Problem":
        task = unit.retry_job(job)
        if task is None:
            return Problem(code="unknown_job", path="", detail=f"there is no job {job} that failed for good")
        return task, {"task": task}

    done = write_once(open_authority(where), by, "job retry", {"job": job}, do)
    if isinstance(done, Problem):
        return refused([done])
    task = done.answer["task"] if isinstance(done, Remembered) else done
    print(f"job {job} is due again: {task}")
    return EXIT_OK


def _print_counts(counts: list[dict[str, Any]]) -> None:
    from typing import get_args

    from remit.cli.output import print_table, table

    states = get_args(_STATES)
    shown = table("task", *states, right=states)
    numbers = {(one["task"], one["state"]): one["count"] for one in counts}
    for task in sorted({task for task, _ in numbers}):
        shown.add_row(task, *(f"{numbers[task, state]:,}" if (task, state) in numbers else "" for state in states))
    print_table(shown)
