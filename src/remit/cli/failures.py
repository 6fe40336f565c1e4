"""Which exceptions are a user's to mend, and what to say about them."""

import sys

import psycopg

from remit.cli.codes import EXIT_DATABASE, CommandError
from remit.ledger.model import ArchivedError
from remit.ledger.service import UnknownDimensionError
from remit.settings import SettingsError
from remit.store.migrate import MigrationError

_NO_SUCH_DATABASE = (psycopg.OperationalError, psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable)


def explained(error: Exception) -> CommandError | None:
    """The line and exit code for an exception that is no fault of the program; None for one that is."""
    if isinstance(error, CommandError):
        return error
    if isinstance(error, SettingsError | UnknownDimensionError | ArchivedError):
        return CommandError(str(error))
    if isinstance(error, MigrationError):
        return CommandError(str(error), EXIT_DATABASE)
    if isinstance(error, _NO_SUCH_DATABASE):
        return CommandError(f"cannot use the database: {first_line(error)}", EXIT_DATABASE)
    return None


def reported(error: Exception) -> int | None:
    """Says on standard error what a user can mend; the exit code. None, and nothing said, for a fault of the program."""
    found = explained(error)
    if found is None:
        return None
    print(f"remit: {found.message}", file=sys.stderr)
    return found.exit_code


def first_line(error: Exception) -> str:
    """The first line of what a library says, without its capital letter."""
    text = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
