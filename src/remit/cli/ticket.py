"""`remit ticket`: ask for authority, and decide what others ask for."""

from cyclopts import App

app_command = App(
    name="ticket",
    help="""Ask for a grant, a renewal, an increase, a transfer or an emergency raise, and decide what others ask for.

A ticket waits for named people: the owner above, then the approvers, then the owners of the organisation. What an approval
carries out happens with it, in one step; nobody decides their own request; what nobody answers expires.
""",
    help_epilogue="",
    group_commands="Commands",
)

for _number, (_name, _path) in enumerate(
    (
        ("request", "ticket_ask:request"),
        ("renew", "ticket_ask:renew"),
        ("increase", "ticket_ask:increase"),
        ("transfer", "ticket_ask:transfer"),
        ("break-glass", "ticket_ask:break_glass"),
        ("show", "ticket_decide:show"),
        ("approve", "ticket_decide:approve"),
        ("decline", "ticket_decide:decline"),
        ("withdraw", "ticket_decide:withdraw"),
        ("comment", "ticket_decide:comment"),
        ("reassign", "ticket_decide:reassign"),
    )
):
    app_command.command(f"remit.cli.{_path}", name=_name, sort_key=_number)
