"""`remit ledger`: reading the books, and settling by evidence what had to be booked at its ceiling."""

from cyclopts import App

from remit.cli import ledger_archive, ledger_holds, ledger_look
from remit.cli.evidence import evidence
from remit.cli.ledger_debts import debts

app_command = App(
    name="ledger",
    help="""Report on spend; read entries; settle suspense by a vendor's statement.

The ledger is append-only: nothing here or elsewhere changes an entry, a correction is an entry of its own.
""",
    help_epilogue="",
    group_commands="Commands",
)

app_command.command(ledger_look.report, sort_key=0)
app_command.command(ledger_look.tail, sort_key=1)
app_command.command(ledger_look.suspense, sort_key=2)
app_command.command(debts, sort_key=3)
app_command.command(evidence, sort_key=4)
app_command.command(ledger_archive.archive, sort_key=11)
app_command.command(ledger_archive.scan, sort_key=12)
app_command.command(ledger_holds.app_command)
