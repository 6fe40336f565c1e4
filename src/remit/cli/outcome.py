"""`remit outcome`: what came of the spending, and what it cost."""

from cyclopts import App

from remit.cli import outcome_look, outcome_record

app_command = App(
    name="outcome",
    help="""Record what systems of record say came of the spending; report cost per outcome; compare experiments.

Events are kept for ever and never changed: a success that did not last is followed by a reversal.
""",
    help_epilogue="",
    group_commands="Commands",
)

app_command.command(outcome_record.record, sort_key=0)
app_command.command(outcome_record.import_, name="import", sort_key=1)
app_command.command(outcome_look.list_, name="list", sort_key=2)
app_command.command(outcome_look.report, sort_key=3)
app_command.command(outcome_look.compare, sort_key=4)
