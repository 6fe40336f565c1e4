"""`remit token`: capabilities as texts: issued by the authority, narrowed and read offline."""

from cyclopts import App

from remit.cli import token_commands, token_mint, token_tree

app_command = App(
    name="token",
    help="""Make, narrow, read and verify capabilities.

A capability is the text a caller sends as its API key. It is signed, lives for a short time, and may do less than its grant.
Commands that take one read it from standard input, else from $REMIT_CAPABILITY: it is a secret and no argument.
""",
    help_epilogue="",
    group_commands="Commands",
)

app_command.command(token_mint.mint_token, name="mint", sort_key=0)
app_command.command(token_commands.attenuate_token, name="attenuate", sort_key=1)
app_command.command(token_commands.inspect_token, name="inspect", sort_key=2)
app_command.command(token_commands.verify_token, name="verify", sort_key=3)
app_command.command(token_tree.show_tree, name="tree", sort_key=4)
