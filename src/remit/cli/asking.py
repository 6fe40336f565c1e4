"""Questions to the person at the terminal."""

import sys


def can_ask() -> bool:
    """Whether a question would be seen and can be answered."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def confirmed(question: str) -> bool:
    """Asks, and says so where the answer is no. Closed input (Ctrl-D) is a no; Ctrl-C still ends the command."""
    try:
        answer = input(f"{question} [y/N] ")
    except EOFError:
        answer = ""
        print()
    except KeyboardInterrupt:
        print("\nnothing was changed", file=sys.stderr)
        raise
    if answer.strip().lower() in ("y", "yes"):
        return True
    print("nothing was changed", file=sys.stderr)
    return False
