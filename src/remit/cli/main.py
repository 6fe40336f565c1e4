"""The `remit` command: which commands there are, and what a failure of any of them looks like.

Every command is named by its import path, so that `remit --help` and each command load only what they need.
"""

import errno
import os
import signal
import sys
import threading
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from types import FrameType

from cyclopts import App, CycloptsError, Group, Parameter, UnusedCliTokensError

from remit import __version__
from remit.cli.codes import (
    EXIT_BROKEN_PIPE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_OUTPUT,
    EXIT_TERMINATED,
    EXIT_USAGE,
    CommandError,
)

_HELP = """Budgets for LLM spend as a tree of grants, enforced on every call.

A first run: `remit up` in one terminal; then `remit apply grants.yaml` and `remit key create GRANT --name NAME`.
"""
_EPILOGUE = (
    "Exit codes: 0 done, 1 differences found or refused by the rules, 2 usage or settings, 3 database unreachable, "
    "4 nothing differs and not all could be looked at, 74 output cannot be written, 130 interrupted, 141 the reader of the output left, 143 terminated. "
    "Settings are read from `remit.toml`, or the file named by --config or $REMIT_CONFIG."
)

_RUN = Group.create_ordered("Run")
_GRANTS = Group.create_ordered("Grants and keys")
_PEOPLE = Group.create_ordered("Decisions")
_BOOKS = Group.create_ordered("Books")
_TRY = Group.create_ordered("Try out")

app = App(
    name="remit",
    version=__version__,
    help=_HELP,
    help_format="markdown",
    help_epilogue=_EPILOGUE,
    default_parameter=Parameter(negative=(), show_default=False),
    group_commands=Group.create_ordered("Other"),
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
)

# A full disk or a quota: what standard output, or any file that is written to, answers then.
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

_order = count()


def _add(name: str, path: str, group: Group) -> None:
    """A command, imported when it is run or listed; its help is its docstring."""
    app.command(f"remit.cli.{path}", name=name, group=group, sort_key=next(_order))


_add("up", "up:up", _RUN)
_add("gateway", "gateway:gateway", _RUN)
_add("doctor", "doctor:doctor", _RUN)
_add("jobs", "jobs:app_command", _RUN)
_add("db", "db:app_command", _RUN)
_add("apply", "apply:apply", _GRANTS)
_add("grant", "grant:app_command", _GRANTS)
_add("key", "key:app_command", _GRANTS)
_add("tag", "tag:app_command", _GRANTS)
_add("token", "token:app_command", _GRANTS)
_add("revoke", "revoke:revoke", _GRANTS)
_add("issuer", "issuer:app_command", _GRANTS)
_add("breaker", "breaker:app_command", _GRANTS)
_add("security", "security:app_command", _BOOKS)
_add("person", "person:app_command", _GRANTS)
_add("queue", "queue:queue", _PEOPLE)
_add("ticket", "ticket:app_command", _PEOPLE)
_add("role", "role:app_command", _GRANTS)
_add("ledger", "ledger:app_command", _BOOKS)
_add("outcome", "outcome:app_command", _BOOKS)
_add("reconcile", "reconcile:app_command", _BOOKS)
_add("sql", "sql:app_command", _BOOKS)
_add("allocate", "allocate:app_command", _BOOKS)
_add("findings", "findings:findings", _BOOKS)
_add("audit", "audit:app_command", _BOOKS)
_add("sinks", "sinks:app_command", _BOOKS)
_add("exports", "sinks:exports", _BOOKS)
_add("notifications", "notifications:app_command", _BOOKS)
_add("vendor-sim", "vendor_sim:vendor_sim", _TRY)
_add("replay", "replay:replay", _TRY)
_add("demo", "demo:demo", _TRY)
# More to try out goes here, one line each: `_add("name", "module:app_command", _TRY)`.


# Set once the process was asked to end by a signal other than Ctrl-C's.
_termination = threading.Event()


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Never returns: ends the process with the documented exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # What is ignored stays ignored, as `nohup` wants it.
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _on_termination)
    try:
        code = run(arguments) if _has_streams() else EXIT_OUTPUT
    except KeyboardInterrupt:
        if not _termination.is_set():
            raise
        code = EXIT_TERMINATED
    sys.exit(code)


def _has_streams() -> bool:
    """Whether there is a standard output; what else was closed is opened on nothing.

    The next file or connection would get the number of what is closed, and would be written what is meant for it. Nothing is
    done whose answer, which may be a secret, cannot be told.
    """
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    if sys.stderr is None and sys.stdout is not None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as above
    if sys.stdout is None and sys.stderr is not None:
        print("remit: cannot write: standard output is closed", file=sys.stderr)
    return sys.stdout is not None


def _on_termination(_number: int, _frame: FrameType | None) -> None:
    # The default would end the process before an embedded server learns that its user has left. What tidies up after Ctrl-C
    # does so now, and an event loop that is running knows that signal.
    _termination.set()
    # A shell without job control starts what is to run in the background with Ctrl-C ignored. That was not meant for this.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.raise_signal(signal.SIGINT)


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and answers its exit code. What a user can mend is one line on standard error."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if not tokens or tokens[0].startswith("-"):
            # A list of commands tells what each is for, and only their modules know.
            app.help_format = "plaintext"  # reading Markdown costs as much as all the modules
            for name in app:
                app[name]
        answer = app(tokens)
        sys.stdout.flush()
    except CycloptsError as error:
        return _usage(error, tokens)
    except KeyboardInterrupt:
        return EXIT_TERMINATED if _termination.is_set() else EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left; what the interpreter still wants to flush goes nowhere.
        _drop_output()
        return EXIT_BROKEN_PIPE
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _CANNOT_WRITE and error.filename is None:
            print(f"remit: cannot write: {(error.strerror or str(error)).lower()}", file=sys.stderr)
            _drop_output()
            return EXIT_OUTPUT
        if isinstance(error, CommandError) and error.code is not None and "--json" in tokens:
            _print_problem(error)
        from remit.cli.failures import reported

        code = reported(error)
        if code is None:
            raise
        return code
    return answer if isinstance(answer, int) else EXIT_OK


def _print_problem(error: CommandError) -> None:
    from remit.cli.output import print_json

    print_json({"problems": [{"code": error.code, "path": error.path, "detail": error.message, "field": None}]})


def _drop_output() -> None:
    """Lets what the interpreter still wants to write go nowhere, rather than fail once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(error: CycloptsError, tokens: Sequence[str]) -> int:
    text = " ".join(str(error).split()).partition(" Available commands:")[0].rstrip(".")
    # Two sentences of the library's become two clauses of one line.
    text = "; ".join(f"{part[:1].lower()}{part[1:]}" for part in text.split(". "))
    if isinstance(error, UnusedCliTokensError):
        text = f"nothing here takes `{' '.join(error.unused_tokens or ())}`"
    chain = error.command_chain or ()
    if text.startswith('unknown command "-'):
        text = f"`{tokens[len(chain)]}` stands before the command; options follow the command, as in `remit grant tree --json`"
    command = " ".join(["remit", *chain])
    end = "" if text.endswith("?") else ";"
    print(f"remit: {text}{end} see `{command} --help`", file=sys.stderr)
    return EXIT_USAGE
