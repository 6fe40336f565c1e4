"""`remit token`: capabilities as texts, narrowed and read offline."""

from cyclopts import App

from remit.cli import token_commands

app_command = App(
    name="token",
    help="""Narrow, read and verify capabilities.

A capability is the text a caller sends as its API key. It is read from standard input, or from $REMIT_CAPABILITY; it is a
secret and no argument.
""",
    help_epilogue="",
    group_commands="Commands",
)

app_command.command(token_commands.attenuate_token, name="attenuate", sort_key=10)
app_command.command(token_commands.inspect_token, name="inspect", sort_key=11)
app_command.command(token_commands.verify_token, name="verify", sort_key=12)
