"""`remit grant`: looking at grants, and changing them one by one."""

from cyclopts import App, Group

from remit.cli import grant_change, grant_delegate, grant_look

_LOOK = Group.create_ordered("Look")
_CHANGE = Group.create_ordered("Change")
_HAND_ON = Group.create_ordered("Hand on")

app_command = App(
    name="grant",
    help="""Look at grants and change them one by one.

A grant is named by its path, such as `acme/research`, or by its id. For many grants at once, write a file and use
`remit apply`.
""",
    help_epilogue="",
    group_commands="Commands",
)

app_command.command(grant_look.tree, group=_LOOK, sort_key=0)
app_command.command(grant_look.show, group=_LOOK, sort_key=1)
app_command.command(grant_look.history, group=_LOOK, sort_key=2)
app_command.command(grant_delegate.why, group=_LOOK, sort_key=3)
app_command.command(grant_change.create, group=_CHANGE, sort_key=0)
app_command.command(grant_change.edit, group=_CHANGE, sort_key=1)
app_command.command(grant_change.renew, group=_CHANGE, sort_key=2)
app_command.command(grant_change.activate, group=_CHANGE, sort_key=3)
app_command.command(grant_change.suspend, group=_CHANGE, sort_key=4)
app_command.command(grant_change.resume, group=_CHANGE, sort_key=5)
app_command.command(grant_change.revoke, group=_CHANGE, sort_key=6)
app_command.command(grant_delegate.split, group=_HAND_ON, sort_key=0)
app_command.command(grant_delegate.transfer, group=_HAND_ON, sort_key=1)
app_command.command(grant_delegate.reclaim, group=_HAND_ON, sort_key=2)
