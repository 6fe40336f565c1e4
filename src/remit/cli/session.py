"""From the shared options to an open authority."""

import subprocess
from typing import TYPE_CHECKING, Any

from remit.cli.codes import EXIT_DATABASE, CommandError
from remit.cli.options import Where
from remit.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from remit.bootstrap import Authority
    from remit.kernel.clock import Clock
    from remit.store.connect import Reader


def settings_of(where: Where | None, overrides: dict[str, Any] | None = None) -> Settings:
    """The settings, with what the command line says laid over them. Raises SettingsError."""
    where = where or Where()
    settings = load_settings(where.config, {"data_dir": where.data_dir, **(overrides or {})})
    folder = settings.data_dir.expanduser()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise SettingsError(f"the data folder cannot be `{settings.data_dir}`: `{folder}` is not a folder")
    return settings


def open_authority(where: Where | None, *, create: bool = False) -> "Authority":
    """The authority over a migrated database; an embedded one is made only with `create`.

    Raises CommandError where there is none, and what psycopg raises for one that does not answer.
    """
    from remit.bootstrap import Authority

    settings = settings_of(where)
    if not create:
        require_database(settings)
    return Authority(settings, started_database(settings))


def started_database(settings: Settings) -> str:
    """The URL of a migrated database, made where there is none. Raises CommandError where it cannot be started."""
    from remit.bootstrap import open_database

    try:
        return open_database(settings)
    except (OSError, subprocess.SubprocessError) as error:
        raise _cannot_start(settings, error) from None


def open_for_questions(where: Where | None, reader: "Reader | None") -> "tuple[str, Clock]":
    """The URL of a login that can only read as that reader, and the time. Raises CommandError, and SettingsError."""
    from remit.bootstrap import make_clock, sql_database

    settings = settings_of(where)
    if settings.sql_database_url is None:
        require_database(settings)
    try:
        return sql_database(settings, reader), make_clock(settings)
    except (OSError, subprocess.SubprocessError) as error:
        raise _cannot_start(settings, error) from None


def open_url(settings: Settings) -> str:
    """The database's URL without touching its schema. Raises CommandError."""
    from remit.store.embedded import start_embedded

    if settings.database_url is not None:
        return settings.database_url
    require_database(settings)
    try:
        return start_embedded(settings.data_dir)
    except (OSError, subprocess.SubprocessError) as error:
        raise _cannot_start(settings, error) from None


def has_database(settings: Settings) -> bool:
    """Whether there is a database already: one's own is taken to be there, the embedded one is looked for."""
    return settings.database_url is not None or (settings.data_dir.expanduser() / "postgres" / "PG_VERSION").exists()


def require_database(settings: Settings) -> None:
    """Raises CommandError where the embedded database was never made, rather than making an empty one by mistake."""
    if not has_database(settings):
        message = (
            f"there is no database under `{settings.data_dir}`: `remit up` or `remit apply` makes one, "
            "--data-dir or --config names another"
        )
        raise CommandError(message, EXIT_DATABASE)


def _cannot_start(settings: Settings, error: Exception) -> CommandError:
    return CommandError(f"cannot start the database under `{settings.data_dir}`: {error}", EXIT_DATABASE)
