"""Pages, SQL, settings and lock files keep the house rules, and each rule can fail."""

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

import pytest

from tests.tidy import text_rules as rules
from tests.tidy.sources import Finding, Source, assert_clean, files, repository_files

HASH = "--hash=sha256:" + "0" * 64


def links(source: Source) -> Iterator[Finding]:
    """The links of one page, followed in the repository."""
    known = {other.path: other for other in repository_files()}
    folders = {str(parent) for path in known for parent in PurePosixPath(path).parents}
    return rules.broken_links(source, known, folders)


def only(path: str) -> Source:
    (source,) = (source for source in repository_files() if source.path == path)
    return source


def test_every_page_has_one_title() -> None:
    """Each Markdown file has exactly one `# Title`."""
    assert_clean(finding for source in files(".md") for finding in rules.one_title(source))


def test_every_link_leads_somewhere() -> None:
    """Each relative link of a page leads to a file, folder or heading of the repository."""
    assert_clean(finding for source in files(".md") for finding in links(source))


def test_no_file_names_a_registry_or_one_machine() -> None:
    """The tree works on any machine: no registry hosts, no index options, no absolute paths."""
    assert_clean(finding for source in repository_files() for finding in rules.leaks(source))


def test_every_source_folder_says_what_it_is_for() -> None:
    """Each folder of the package has a README, and the top ones say what they do not decide."""
    assert_clean(rules.folders_without_readme(repository_files()))


def test_sql_uses_the_words_of_the_project() -> None:
    """Tables, columns and functions are named by the project's words."""
    assert_clean(finding for source in files(".sql") for finding in rules.banned_sql_names(source))


def test_every_switched_off_rule_has_a_reason() -> None:
    """pyproject.toml says beside each ignored rule why."""
    assert_clean(rules.ignores_without_reason(only("pyproject.toml")))


@pytest.mark.parametrize("name", ["runtime", "dev", "audit"])
def test_lock_files_pin_versions_by_hash(name: str) -> None:
    """Every line of a lock file is one version with its hashes, and nothing else."""
    source = only(f"requirements/{name}.txt")
    assert rules.locked(source)
    assert_clean(rules.lock_findings(source))


def test_the_development_set_contains_the_runtime_set() -> None:
    """What the tests run on is what is shipped: the same packages in the same versions."""
    assert rules.locked(only("requirements/runtime.txt")) <= rules.locked(only("requirements/dev.txt"))


def test_lock_files_hold_all_that_is_asked_for() -> None:
    """Each dependency, the build backend included, is locked; `make lock` was run after the last change."""
    runtime = rules.wanted(rules.project_requirements(only("pyproject.toml")))
    runtime |= rules.wanted(only("requirements/build.in").text)
    assert runtime <= {name for name, _ in rules.locked(only("requirements/runtime.txt"))}
    for name in ("dev", "audit"):
        asked = rules.wanted(only(f"requirements/{name}.in").text)
        assert asked <= {locked for locked, _ in rules.locked(only(f"requirements/{name}.txt"))}


BAD: list[tuple[Callable[[Source], Iterator[Finding]], str, str]] = [
    (rules.one_title, "docs/a.md", "text"),
    (rules.one_title, "docs/a.md", "# One\n# Two"),
    (rules.one_title, "docs/a.md", "## Below\n```\n# comment\n```"),
    (links, "docs/a.md", "[a](nowhere.md)"),
    (links, "docs/a.md", "[a](../../outside.md)"),
    (links, "docs/a.md", "[a](/LICENSE)"),
    (links, "docs/a.md", "[a](#missing)"),
    (links, "docs/a.md", "[a](../CONTRIBUTING.md#no-such-heading)"),
    (links, "docs/a.md", "[a]: nowhere.md"),
    (rules.leaks, "a", "https://pypi" + ".org/simple"),
    (rules.leaks, "a", "https://files.python" + "hosted.org/x"),
    (rules.leaks, "a", "--extra-index" + "-url x"),
    (rules.leaks, "a", "find_" + "links = x"),
    (rules.leaks, "a", "cd /ro" + "ot/remit"),
    (rules.leaks, "a", "data=/ho" + "me/someone/data"),
    (rules.banned_sql_names, "a.sql", "create table virtual_keys ();"),
    (rules.ignores_without_reason, "pyproject.toml", 'ignore = [\n    "D102",\n]'),
    (rules.ignores_without_reason, "pyproject.toml", '[per-file-ignores]\n"a" = [\n    "S",\n]'),
    (rules.ignores_without_reason, "pyproject.toml", 'filterwarnings = [\n    "ignore::UserWarning",\n]'),
    (rules.lock_findings, "requirements/a.txt", "a==1.0"),
    (rules.lock_findings, "requirements/a.txt", "a>=1.0 \\\n    " + HASH),
    (rules.lock_findings, "requirements/a.txt", "--require-hashes"),
    (rules.lock_findings, "requirements/a.txt", "a @ https://example.com/a.whl \\\n    " + HASH),
]


@pytest.mark.parametrize(("rule", "path", "text"), BAD)
def test_the_rule_finds(rule: Callable[[Source], Iterator[Finding]], path: str, text: str) -> None:
    """A text that breaks the rule once gets one finding."""
    assert len(list(rule(Source(path, text)))) == 1


GOOD: list[tuple[Callable[[Source], Iterator[Finding]], str, str]] = [
    (rules.one_title, "docs/a.md", "# One\n## Two\n```\n# comment\n```"),
    (links, "docs/a.md", "[a](../LICENSE) [b](https://example.com) `[c](d)` [e](../requirements)"),
    (links, "a.md", "[a](CONTRIBUTING.md#decisions)"),
    (rules.leaks, "a", "GET /v1/models, /workers/1, https://example.com/ho" + "me/a"),
    (rules.banned_sql_names, "a.sql", "select hold_id from holds; -- not a reservation"),
    (rules.ignores_without_reason, "pyproject.toml", 'ignore = [\n    "D102", # why\n]\nselect = [\n    "E",\n]'),
    (rules.lock_findings, "requirements/a.txt", "# note\na-b==1.0 ; os_name == 'nt' \\\n    " + HASH),
]


@pytest.mark.parametrize(("rule", "path", "text"), GOOD)
def test_the_rule_lets_pass(rule: Callable[[Source], Iterator[Finding]], path: str, text: str) -> None:
    """A text that keeps the rule gets no finding."""
    assert_clean(rule(Source(path, text)))


def test_a_folder_without_readme_is_found() -> None:
    """A folder of code needs a README, and a top folder one that says what it does not decide."""
    code = [Source("src/remit/grants/model.py", ""), Source("src/remit/grants/queries/a.sql", "")]
    assert len(list(rules.folders_without_readme(code))) == 1
    assert len(list(rules.folders_without_readme([*code, Source("src/remit/grants/README.md", "# grants")]))) == 1
    readme = Source("src/remit/grants/README.md", "# grants\n\nDoes **not** decide: what anything costs.")
    assert_clean(rules.folders_without_readme([*code, readme]))


def test_anchors_are_those_of_the_headings() -> None:
    """Headings become fragments in lower case, without punctuation, numbered where they repeat."""
    page = Source("a.md", "# A `b` C!\n## Same\n## Same\n")
    assert rules.anchors(page) == {"a-b-c", "same", "same-1"}
