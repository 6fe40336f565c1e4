"""`remit token`: capabilities as texts."""

from cyclopts import App

from remit.cli import token_mint, token_tree

app_command = App(
    name="token",
    help="""Make capabilities.

A capability is the text a caller sends as its API key. It is signed, lives for a short time, and may do less than its grant.
""",
    help_epilogue="",
    group_commands="Commands",
)

app_command.command(token_mint.mint_token, name="mint", sort_key=0)
app_command.command(token_tree.show_tree, name="tree", sort_key=4)
