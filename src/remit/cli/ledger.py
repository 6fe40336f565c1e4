"""`remit ledger`: reading the books, settling by evidence what had to be booked at its ceiling, and sealing all of it."""

from cyclopts import App

from remit.cli import (
    ledger_archive,
    ledger_holds,
    ledger_look,
    ledger_reports,
    ledger_seal,
    ledger_statement,
    ledger_verify,
)
from remit.cli.evidence import evidence
from remit.cli.ledger_debts import debts
from remit.cli.ledger_dictionary import dictionary
from remit.cli.ledger_focus import focus

app_command = App(
    name="ledger",
    help="""Report on spend; read entries; settle suspense by a vendor's statement; seal and verify entries.

The ledger is append-only: nothing here or elsewhere changes an entry, a correction is an entry of its own. That it was so
is what `verify` shows.
""",
    help_epilogue="",
    group_commands="Commands",
)

app_command.command(ledger_look.report, sort_key=0)
app_command.command(ledger_look.tail, sort_key=1)
app_command.command(ledger_look.suspense, sort_key=2)
app_command.command(debts, sort_key=3)
app_command.command(evidence, sort_key=4)
app_command.command(focus, sort_key=5)
app_command.command(ledger_seal.seal, sort_key=6)
app_command.command(ledger_seal.checkpoint, sort_key=7)
app_command.command(ledger_seal.key, sort_key=8)
app_command.command(ledger_verify.verify, sort_key=9)
app_command.command(ledger_verify.export, sort_key=10)
app_command.command(ledger_seal.prove, sort_key=11)
app_command.command(ledger_reports.total, sort_key=12)
app_command.command(ledger_reports.forecast, sort_key=13)
app_command.command(ledger_reports.units, sort_key=14)
app_command.command(ledger_reports.coverage, sort_key=15)
app_command.command(ledger_reports.budget, sort_key=16)
app_command.command(ledger_statement.statement, sort_key=17)
app_command.command(ledger_statement.sheet, sort_key=18)
app_command.command(dictionary, sort_key=19)
app_command.command(ledger_archive.archive, sort_key=20)
app_command.command(ledger_archive.scan, sort_key=21)
app_command.command(ledger_holds.app_command)
