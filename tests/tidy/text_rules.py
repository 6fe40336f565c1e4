"""Rules about texts: pages, SQL, settings, lock files and what must stand in no file at all."""

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePosixPath

from tests.tidy.python_rules import banned_word
from tests.tidy.sources import Finding, Source

_FENCE = re.compile(r"^ {0,3}(```|~~~)")
_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$")
_LINK = re.compile(r"\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|^\[[^\]^]+\]:\s*<?([^\s>]+)>?")
_INLINE_CODE = re.compile(r"`+[^`]*`+")
_NOT_DECIDED = re.compile(r"not\*{0,2}\s+decide", re.IGNORECASE)

# Written in pieces, so that this file does not break its own rule.
_REGISTRY_HOSTS = ["pypi.", "pythonhosted.", "npmjs.", "crates.", "golang.", "debian.", "maven."]
_REGISTRY = re.compile("|".join(rf"\b{re.escape(host)}(?:org|com|io)\b" for host in _REGISTRY_HOSTS))
_INDEX_OPTION = re.compile(r"\b(?:index[-_]u" + r"rl|find[-_]li" + r"nks|trusted[-_]ho" + r"st)\b", re.IGNORECASE)
_MACHINE_PATH = re.compile(r"(?<![\w.:/-])/(?:work|root|home|Users)/\w")

_RULE_CODE = re.compile(r'^\s+"[A-Z]+[0-9]*",')
_LOCKED = re.compile(
    r"(?P<name>[a-z0-9-]+)(\[[a-z0-9,-]+\])?==(?P<version>[0-9][0-9a-z.+!]*)"
    r"(\s*;[^\\]+?)?(?P<hashes>(\s+--hash=sha256:[0-9a-f]{64})+)"
)


def prose(source: Source) -> Iterator[tuple[int, str]]:
    """Numbered lines of a page outside fenced code."""
    fence = None
    for number, line in enumerate(source.text.splitlines(), start=1):
        if found := _FENCE.match(line):
            fence = None if fence == found[1] else (fence or found[1])
        elif fence is None:
            yield number, line


def headings(source: Source) -> list[tuple[int, int, str]]:
    """(line, level, text) of each heading."""
    found = ((number, _HEADING.match(line)) for number, line in prose(source))
    return [(number, len(match[1]), match[2]) for number, match in found if match]


def anchors(source: Source) -> set[str]:
    """The fragments a page answers to, by the rule code hosts use for headings."""
    known: set[str] = set()
    for _, _, text in headings(source):
        slug = base = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text).lower()).replace(" ", "-")
        count = 0
        while slug in known:
            count += 1
            slug = f"{base}-{count}"
        known.add(slug)
    return known


def one_title(source: Source) -> Iterator[Finding]:
    """A page has exactly one `# Title`."""
    titles = [number for number, level, _ in headings(source) if level == 1]
    if len(titles) != 1:
        yield Finding(source.path, titles[1] if titles else 1, f"{len(titles)} titles (`# ...`): a page has one")


def broken_links(source: Source, files: Mapping[str, Source], folders: Collection[str]) -> Iterator[Finding]:
    """Relative links that lead to no file, folder or heading of the repository."""
    for number, line in prose(source):
        for found in _LINK.finditer(_INLINE_CODE.sub("", line)):
            target = found[1] or found[2]
            if re.match(r"[a-z][a-z+.-]*:", target):
                continue
            name, _, fragment = target.partition("#")
            path = _resolve(PurePosixPath(source.path).parent, name) if name else source.path
            page = files.get(path) if path else None
            if page is None and path not in folders:
                yield Finding(source.path, number, f"`{target}` leads nowhere")
            elif fragment and page and page.path.endswith(".md") and fragment not in anchors(page):
                yield Finding(source.path, number, f"`{target}`: the page has no such heading")


def _resolve(folder: PurePosixPath, name: str) -> str | None:
    """The path a relative link means, None where it leaves the repository."""
    parts: list[str] = []
    for part in (*folder.parts, *PurePosixPath(name).parts):
        if part == "/" or (part == ".." and not parts):
            return None
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts) or "."


def leaks(source: Source) -> Iterator[Finding]:
    """Package registries, their options, and paths of one machine."""
    for number, line in enumerate(source.text.splitlines(), start=1):
        if _REGISTRY.search(line):
            yield Finding(source.path, number, "names a package registry: name the package only")
        if _INDEX_OPTION.search(line):
            yield Finding(source.path, number, "sets where packages come from: that is each machine's own business")
        if _MACHINE_PATH.search(line):
            yield Finding(source.path, number, "holds a path of one machine")


def folders_without_readme(sources: Collection[Source]) -> Iterator[Finding]:
    """Folders of code below `src/remit` that do not say what they are for; the top ones also say what they leave."""
    by_path = {source.path: source for source in sources}
    code = {str(PurePosixPath(path).parent) for path in by_path if path.endswith(".py")}
    for folder in sorted(folder for folder in code if folder.startswith("src/remit/")):
        readme = by_path.get(f"{folder}/README.md")
        if readme is None:
            yield Finding(folder, 1, "has no README.md: what it is for, its entities and invariants")
        elif folder.count("/") == 2 and not _NOT_DECIDED.search(readme.text):
            yield Finding(readme.path, 1, "does not say what the folder does **not** decide")


def banned_sql_names(source: Source) -> Iterator[Finding]:
    """Words the project does not use, as names in SQL."""
    for number, line in enumerate(source.text.splitlines(), start=1):
        for name in re.findall(r"\w+", line.split("--", 1)[0]):
            if message := banned_word(name):
                yield Finding(source.path, number, message)


def ignores_without_reason(source: Source) -> Iterator[Finding]:
    """Rules that pyproject.toml switches off without saying why on the same line."""
    inside = False
    for number, line in enumerate(source.text.splitlines(), start=1):
        if line.startswith("["):
            inside = "per-file-ignores" in line
        elif line.startswith(("ignore = [", "select = [", "filterwarnings = [")):
            inside = not line.startswith("select")
        elif line == "]":
            inside = False
        switched_off = _RULE_CODE.match(line) or re.match(r"\s+[\"']ignore:", line)
        if inside and switched_off and "#" not in line:
            yield Finding(source.path, number, f"`{line.strip()}` has no reason beside it")


def lock_findings(source: Source) -> Iterator[Finding]:
    """Lines of a lock file that are not a version pinned by hashes."""
    for number, entry in _entries(source.text):
        if not _LOCKED.fullmatch(entry):
            yield Finding(source.path, number, f"`{entry[:60]}` is no version with sha256 hashes")


def locked(source: Source) -> set[tuple[str, str]]:
    """(name, version) of each locked package."""
    matches = (_LOCKED.fullmatch(entry) for _, entry in _entries(source.text))
    return {(match["name"], match["version"]) for match in matches if match}


def _entries(text: str) -> Iterator[tuple[int, str]]:
    """Logical lines of a requirements file, comments left out."""
    entry, start = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        start = start if entry else number
        entry += line.removesuffix("\\").strip() + " "
        if not line.endswith("\\"):
            yield start, entry.strip()
            entry = ""


def wanted(requirements: str) -> set[str]:
    """Package names of an input file or a list of requirements, in the spelling of lock files."""
    names = (re.match(r"[A-Za-z0-9._-]+", line.strip()) for line in requirements.splitlines())
    return {re.sub(r"[-_.]+", "-", name[0]).lower() for name in names if name and not name[0].startswith("-")}


def project_requirements(source: Source) -> str:
    """The runtime dependencies and the build backend that pyproject.toml names, one a line."""
    table = tomllib.loads(source.text)
    return "\n".join([*table["project"]["dependencies"], *table["build-system"]["requires"]])
