"""`remit key`: access keys, the short secrets that stand for a grant's capability."""

from cyclopts import App

from remit.cli import key_commands

app_command = App(
    name="key",
    help="""Make, list, rotate and revoke access keys.

A key is what a caller sends as its API key. Its secret is printed once, when the key is made, and stored as a hash.
""",
    help_epilogue="",
    group_commands="Commands",
)

app_command.command(key_commands.create_key, name="create", sort_key=0)
app_command.command(key_commands.list_keys, name="list", sort_key=1)
app_command.command(key_commands.rotate_key, name="rotate", sort_key=2)
app_command.command(key_commands.revoke_key, name="revoke", sort_key=3)
