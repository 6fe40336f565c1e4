"""The `remit` command: which commands there are, and what a failure of any of them looks like.

Every command is named by its import path, so that `remit --help` and each command load only what they need.
"""

import os
import sys
from collections.abc import Sequence
from itertools import count

from cyclopts import App, CycloptsError, Group, Parameter

from remit import __version__
from remit.cli.codes import EXIT_BROKEN_PIPE, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE

_HELP = """Budgets for LLM spend as a tree of grants, enforced on every call.

A first run: `remit up` in one terminal; then `remit apply grants.yaml` and `remit key create GRANT --name NAME`.
"""
_EPILOGUE = (
    "Exit codes: 0 done, 1 differences found or refused by the rules, 2 usage or settings, 3 database unreachable. "
    "Settings are read from `remit.toml`, or the file named by --config or $REMIT_CONFIG."
)

_RUN = Group.create_ordered("Run")
_GRANTS = Group.create_ordered("Grants and keys")
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


_order = count()


def _add(name: str, path: str, group: Group) -> None:
    """A command, imported when it is run or listed; its help is its docstring."""
    app.command(f"remit.cli.{path}", name=name, group=group, sort_key=next(_order))


_add("up", "up:up", _RUN)
_add("gateway", "gateway:gateway", _RUN)
_add("doctor", "doctor:doctor", _RUN)
_add("apply", "apply:apply", _GRANTS)
_add("grant", "grant:app_command", _GRANTS)
_add("key", "key:app_command", _GRANTS)
_add("person", "person:app_command", _GRANTS)
_add("ledger", "ledger:app_command", _BOOKS)
_add("notifications", "notifications:notifications", _BOOKS)
_add("vendor-sim", "vendor_sim:app_command", _TRY)
_add("replay", "replay:replay", _TRY)
_add("demo", "demo:demo", _TRY)
# More to try out goes here, one line each: `_add("name", "module:app_command", _TRY)`.


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Never returns: ends the process with the documented exit code."""
    sys.exit(run(arguments))


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
        return _usage(error)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left; what the interpreter still wants to flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except Exception as error:
        from remit.cli.failures import reported

        code = reported(error)
        if code is None:
            raise
        return code
    return answer if isinstance(answer, int) else EXIT_OK


def _usage(error: CycloptsError) -> int:
    text = " ".join(str(error).split()).partition(" Available commands:")[0].rstrip(".")
    command = " ".join(["remit", *(error.command_chain or ())])
    print(f"remit: {text[:1].lower()}{text[1:]}; see `{command} --help`", file=sys.stderr)
    return EXIT_USAGE
