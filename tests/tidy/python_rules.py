"""Rules about Python code: each takes one file and yields its findings."""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Mapping

from tests.tidy.sources import Finding, Source

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

CLOCK = "src/remit/kernel/clock.py"
DOMAIN_FOLDERS: Mapping[str, frozenset[str]] = {
    # folder: packages it may import besides the standard library and remit itself
    "kernel": frozenset(),
    "capabilities": frozenset({"cryptography", "msgspec"}),
    "pricing": frozenset({"bpe_openai", "genai_prices", "msgspec"}),
    "grants": frozenset({"msgspec"}),
    "leases": frozenset({"msgspec"}),
    "ledger": frozenset({"msgspec"}),
    "findings": frozenset(),
    "reports": frozenset(),
}
IO_MODULES = (
    "asyncio", "http", "io", "multiprocessing", "os", "pathlib", "selectors", "shutil", "socket", "sqlite3", "ssl",
    "subprocess", "tempfile", "time", "urllib.request",
)  # fmt: skip

# One word per thing: words the project does not use for it, as whole parts of a name, with the word it does use.
BANNED_NAMES: Mapping[str, str] = {
    "allocation": "lease",
    "approval": "ticket",
    "caveat": "block",
    "denied": "refused",
    "provider_config": "deployment",
    "reservation": "hold",
    "spend_row": "entry",
    "virtual_key": "access_key",
}
_BANNED_NAME = re.compile(rf"(?:^|_)({'|'.join(BANNED_NAMES)})s?(?=_|$)")

# The time comes from the clock that was handed in; only the clock itself asks the machine.
BANNED_REFERENCES: Mapping[str, str] = {
    "time.time": "Clock.now()",
    "time.time_ns": "Clock.now()",
    "datetime.date.today": "Clock.now()",
    "datetime.datetime.now": "Clock.now()",
    "datetime.datetime.today": "Clock.now()",
    "datetime.datetime.utcfromtimestamp": "datetime.fromtimestamp(seconds, UTC)",
    "datetime.datetime.utcnow": "Clock.now()",
}

_MONEY_NAME = re.compile(r"(_nanousd|_per_million)$")
_IGNORE_WITHOUT_CODE = re.compile(
    r"#\s*(?:(?:ruff:\s*)?noqa(?!\s*:\s*[A-Z]+[0-9]+)|type:\s*ignore(?!\[[a-z-]+)|(?:mypy|pyright):\s*ignore(?!\[))",
    re.IGNORECASE,
)


def functions(tree: ast.Module) -> Iterator[tuple[str, FunctionNode]]:
    """Every function with its qualified name, nested ones included."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, FunctionNode]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, FunctionNode):
                yield prefix + child.name, child
            inner = f"{prefix}{child.name}." if isinstance(child, FunctionNode | ast.ClassDef) else prefix
            yield from walk(child, inner)

    yield from walk(tree, "")


def function_lengths(source: Source) -> dict[str, int]:
    """Lines of each function, its docstring included and its decorators not, by `path:qualified.name`."""
    return {
        f"{source.path}:{name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for name, node in functions(source.tree)
    }


def ratchet(lengths: Mapping[str, int], limit: int, exceptions: Mapping[str, int]) -> Iterator[Finding]:
    """What is longer than it may be, and each exception that is larger than needed or not needed at all."""
    for name, length in lengths.items():
        allowed = exceptions.get(name, limit)
        if length > allowed:
            yield Finding(name, 1, f"{length} lines, at most {allowed}: split it")
    for name, allowed in exceptions.items():
        length = lengths.get(name, 0)
        if length <= limit:
            yield Finding(name, 1, "is within the limit now: take its exception out of exceptions.toml")
        elif length < allowed:
            yield Finding(name, 1, f"has shrunk: lower its exception from {allowed} to {length}")


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def banned_word(name: str) -> str | None:
    """What to say instead where the name holds a word the project does not use."""
    if found := _BANNED_NAME.search(snake_case(name)):
        return f"`{name}`: say `{BANNED_NAMES[found[1]]}`"
    return None


def banned_names(source: Source) -> Iterator[Finding]:
    """Names the file gives; those it takes from other packages are theirs to choose."""
    for node in ast.walk(source.tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                pass
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                pass
            case _:
                continue
        if message := banned_word(name):
            yield Finding(source.path, node.lineno, message)


def banned_references(source: Source) -> Iterator[Finding]:
    """Uses of the machine's clock other than by the clock."""
    if source.path == CLOCK:
        return
    origins = _import_origins(source.tree)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            name = _dotted(node, origins)
            if name is not None and name in BANNED_REFERENCES:
                yield Finding(source.path, node.lineno, f"`{name}`: use {BANNED_REFERENCES[name]}")


def prints(source: Source) -> Iterator[Finding]:
    """`print` anywhere but where a person is spoken to."""
    if source.is_under("src/remit/cli", "src/remit/testing"):
        return
    for node in _calls(source.tree, "print"):
        yield Finding(source.path, node.lineno, "`print`: log an event, or return the text to the command line")


def floats_near_money(source: Source) -> Iterator[Finding]:
    """Floats in domain folders, and float arithmetic on amounts anywhere."""
    domain = source.is_under(*(f"src/remit/{folder}" for folder in DOMAIN_FOLDERS))
    for node in ast.walk(source.tree):
        message = None
        match node:
            case ast.Call(func=ast.Name(id="float"), args=[value]) if domain or _is_money(value):
                message = "`float(`: amounts are integers, ratios are integer percent or Decimal"
            case ast.Constant(value=float()) if domain:
                message = f"`{ast.unparse(node)}`: no float literals in a domain folder"
            case ast.BinOp(left=left, op=ast.Div(), right=right) if _is_money(left) or _is_money(right):
                message = "`/` on an amount: use `//`, divide_half_even or Decimal"
            case ast.BinOp(left=left, right=right) if _is_money(left) or _is_money(right):
                if any(isinstance(side, ast.Constant) and isinstance(side.value, float) for side in (left, right)):
                    message = "an amount with a float: use integers"
            case ast.arg(arg=name, annotation=ast.Name(id="float")) if _MONEY_NAME.search(name):
                message = f"`{name}: float`: amounts are int"
            case ast.AnnAssign(target=ast.Name(id=name), annotation=ast.Name(id="float")) if _MONEY_NAME.search(name):
                message = f"`{name}: float`: amounts are int"
        if message:
            yield Finding(source.path, getattr(node, "lineno", 1), message)


def domain_imports(source: Source) -> Iterator[Finding]:
    """Domain folders import the standard library without I/O, remit, and the few packages named above."""
    _, _, rest = source.path.partition("src/remit/")
    folder = rest.split("/", 1)[0]
    if folder not in DOMAIN_FOLDERS or source.path == CLOCK:
        return
    for line, module in _imports(source.tree):
        top = module.split(".", 1)[0]
        if module.startswith(tuple(f"{name}." for name in IO_MODULES)) or module in IO_MODULES:
            yield Finding(source.path, line, f"`{module}`: {folder} does no I/O and holds no clock")
        elif top != "remit" and top not in sys.stdlib_module_names and top not in DOMAIN_FOLDERS[folder]:
            yield Finding(source.path, line, f"`{module}`: {folder} may not import it")
    for node in _calls(source.tree, "open"):
        yield Finding(source.path, node.lineno, f"`open`: {folder} does no I/O")


def ignores_without_code(source: Source) -> Iterator[Finding]:
    """Comments that silence a checker altogether rather than one of its rules."""
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT and _IGNORE_WITHOUT_CODE.search(token.string):
            yield Finding(source.path, token.start[0], f"`{token.string}`: name the rule it silences")


def tests_without_docstring(source: Source) -> Iterator[Finding]:
    """Test functions that do not say in a sentence what they show."""
    for name, node in functions(source.tree):
        if node.name.startswith("test_") and not ast.get_docstring(node):
            yield Finding(source.path, node.lineno, f"`{name}`: say in one sentence what holds")


def _is_money(node: ast.expr) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return bool(_MONEY_NAME.search(name))
        case ast.Call(func=func):
            return _is_money(func)
    return False


def _calls(tree: ast.Module, builtin: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == builtin:
            yield node


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from urllib import request` names a module as well.
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _import_origins(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for: `{"dt": "datetime", "now": "datetime.datetime.now"}`."""
    origins = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            origins.update({alias.asname or alias.name: alias.name for alias in node.names})
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            origins.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return origins


def _dotted(node: ast.expr, origins: Mapping[str, str]) -> str | None:
    if isinstance(node, ast.Attribute):
        head = _dotted(node.value, origins)
        return f"{head}.{node.attr}" if head else None
    return origins.get(node.id) if isinstance(node, ast.Name) else None
