"""What the process's exit code says."""

from typing import Final

EXIT_OK: Final = 0
EXIT_DIFFERENCES: Final = 1
"""Something was found to differ, or the rules refused what was asked."""
EXIT_USAGE: Final = 2
"""The command, a file or the settings cannot be used as they are."""
EXIT_DATABASE: Final = 3
"""The database cannot be reached, or is not one this version can work with."""
EXIT_INCOMPLETE: Final = 4
"""Nothing was found to differ, and not all could be looked at."""
EXIT_OUTPUT: Final = 74
"""Standard output or a file cannot be written to, such as one on a full disk."""
EXIT_INTERRUPTED: Final = 130
EXIT_BROKEN_PIPE: Final = 141
EXIT_TERMINATED: Final = 143


class CommandError(Exception):
    """Ends a command: one lower-case line for standard error, and the exit code.

    A `code` and the `path` it is about are there where `--json` tells it as a problem.
    """

    def __init__(self, message: str, exit_code: int = EXIT_USAGE, *, code: str | None = None, path: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.code = code
        self.path = path
