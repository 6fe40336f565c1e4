"""What PostgreSQL gives to every login and no reader needs: advisory locks, which would stop the gateways, and what runs texts."""

import psycopg

from remit.store.connect import connect
from remit.store.named import query


def closing_script() -> str:
    """SQL by which a superuser takes from everybody what no reader needs, for any client."""
    return "\n".join(
        [
            "DO $close$",
            "DECLARE",
            "    v_remedy text;",
            "BEGIN",
            "    FOR v_remedy IN SELECT remedy FROM (",
            query("readers_open").decode().rstrip(),
            "    ) AS found LOOP",
            "        EXECUTE v_remedy;",
            "    END LOOP;",
            "END",
            "$close$;",
        ]
    )


def close_to_readers(connection: psycopg.Connection) -> list[str]:
    """Takes from everybody what no reader needs, as far as this login may; what is still open is returned.

    Who can do it at all is a superuser, for the functions are the server's. The owner of the database can for temporary tables.
    """
    open_still = []
    for what, remedy, can_close in connection.execute(query("readers_open")).fetchall():
        if can_close:
            connection.execute(remedy.encode())
        else:
            open_still.append(what)
    return open_still


def open_to_readers(url: str) -> list[str]:
    """What PostgreSQL still gives to readers that they do not need; empty in a database that is closed to them."""
    with connect(url, "remit_reader") as connection:
        return [row[0] for row in connection.execute(query("readers_open")).fetchall()]
