"""`remit db`: people's logins to the ledger's views."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from remit.cli.codes import EXIT_OK, CommandError
from remit.cli.options import Actor, By, Json, Where

app_command = App(
    name="db",
    help="""Give people logins to read the ledger in SQL, and end them.

A login sees the views of engineering, finance or security, and nothing else of the database.
""",
    help_epilogue="",
    group_commands="Commands",
)
Reason = Annotated[str, Parameter(help="Why; recorded with it.")]
Name = Annotated[str, Parameter(help="Whose: a small letter, then small letters, digits and `_`.")]


@app_command.command(name="reader", sort_key=0)
def reader(
    name: Name,
    *,
    for_: Annotated[
        Literal["engineering", "finance", "security"], Parameter(name="--for", help="Whose views the login reads.")
    ],
    print_sql: Annotated[
        bool, Parameter(help="Print SQL for whoever administers the database, and change nothing.")
    ] = False,
    actor: Actor = None,
    reason: Reason = "",
    where: Where | None = None,
) -> int:
    """Make a login, or give one a new password, which is shown this once.

    The login is called after both, as `finance_kim`.
    """
    from remit.cli.output import remark
    from remit.cli.session import open_authority
    from remit.cli.words import still_open
    from remit.store.postgres_readers import PostgresReaders, ReaderError, login_script

    try:
        if print_sql:
            script, password = login_script(for_, name)
            print(script)
            remark(f"password, shown this once: {password}")
            return EXIT_OK
        authority = open_authority(where)
        made = PostgresReaders(authority.url, authority.clock).make(
            for_, name, actor=By(actor=actor).who().name, reason=reason
        )
    except ReaderError as error:
        raise CommandError(str(error)) from None
    print(f"login     {made.login}\npassword  {made.password}\nconnect   {made.url}")
    remark("the password is shown this once")
    if made.open_still:
        remark(still_open(made.open_still))
    return EXIT_OK


@app_command.command(name="readers", sort_key=1)
def readers(*, json: Json = False, where: Where | None = None) -> int:
    """List the logins of readers.

    A line on standard error says whether PostgreSQL still gives them what no reader needs.
    """
    from remit.cli.output import print_json, print_table, remark, table
    from remit.cli.session import open_authority
    from remit.cli.words import still_open
    from remit.store.closing import open_to_readers
    from remit.store.postgres_readers import PostgresReaders

    authority = open_authority(where)
    found = PostgresReaders(authority.url, authority.clock).every()
    if left := open_to_readers(authority.url):
        remark(still_open(left))
    if json:
        print_json(found)
        return EXIT_OK
    if not found:
        print("no logins of readers")
        return EXIT_OK
    shown = table("login", "reads as", "")
    for one in found:
        shown.add_row(one["login"], one["reader"], "" if one["is_active"] else "ended")
    print_table(shown)
    return EXIT_OK


@app_command.command(name="end", sort_key=2)
def end(
    login: Annotated[str, Parameter(help="The login, such as finance_kim.")],
    *,
    actor: Actor = None,
    reason: Reason = "",
    where: Where | None = None,
) -> int:
    """End a login: it is refused from now on, and what it has open is closed."""
    from remit.cli.session import open_authority
    from remit.store.postgres_readers import PostgresReaders, ReaderError

    authority = open_authority(where)
    try:
        PostgresReaders(authority.url, authority.clock).end(login, actor=By(actor=actor).who().name, reason=reason)
    except ReaderError as error:
        raise CommandError(str(error)) from None
    print(f"{login} is ended")
    return EXIT_OK
