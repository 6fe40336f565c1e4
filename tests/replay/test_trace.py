"""Reading traces: what is accepted, and what a person is told about what is not."""

from pathlib import Path

import pytest

from remit.testing.load import TraceError, read_trace, summarise

HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens"
GOOD = (
    f"{HEAD}\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n2023-11-16 18:15:50.9951690,0,0"
)


def written(folder: Path, text: str) -> Path:
    path = folder / "trace.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_trace_is_read_with_its_gaps(tmp_path: Path) -> None:
    """Instants count from the first request, to the tenth of a microsecond; a last line without its end counts too."""
    arrivals = list(read_trace(written(tmp_path, GOOD)))
    assert [(one.prompt_tokens, one.output_tokens) for one in arrivals] == [(374, 44), (396, 109), (0, 0)]
    assert [one.at_seconds for one in arrivals] == pytest.approx([0, 4.314579, 4.314579], abs=1e-9)
    summary = summarise(arrivals)
    assert (summary.requests, summary.prompt_tokens, summary.output_tokens) == (3, 770, 153)


def test_a_limit_reads_no_further(tmp_path: Path) -> None:
    """What lies behind the limit is not even looked at."""
    path = written(tmp_path, GOOD + "\nnonsense")
    assert len(list(read_trace(path, 2))) == 2
    with pytest.raises(TraceError, match="line 5"):
        list(read_trace(path))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("2023-11-16 18:15:46,1", "expected 3 cells, found 2"),
        ("2023-11-16 18:15:46,1,2,3", "expected 3 cells, found 4"),
        ("", "expected 3 cells, found 1"),
        ("yesterday,1,2", "`yesterday` is not a timestamp"),
        ("2023-02-30 18:15:46.1,1,2", "is not a timestamp"),
        ("2023-11-16 18:15:46.68,-1,2", "ContextTokens `-1` is not a whole number"),
        ("2023-11-16 18:15:46.68,1,2.5", "GeneratedTokens `2.5` is not a whole number"),
        ("2023-11-16 18:15:46.68,9999999999999999999,2", "ContextTokens"),
        ("2023-11-16 18:15:46.68,\u0663,2", "ContextTokens"),
        ("2022-11-16 18:15:46.68,1,2", "before that of the line above"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, told: str) -> None:
    """The message has the file, the number of the line, and what is wrong with it."""
    path = written(tmp_path, f"{HEAD}\n2023-11-16 18:15:46.6805900,374,44\n{line}\n")
    with pytest.raises(TraceError) as caught:
        list(read_trace(path))
    assert f"{path}, line 3: " in str(caught.value)
    assert told in str(caught.value)


@pytest.mark.parametrize("text", ["", "a,b,c\n1,2,3\n", HEAD, f"{HEAD}\n"])
def test_a_file_that_is_no_trace_is_refused(tmp_path: Path, text: str) -> None:
    """A wrong head line and a file without requests are errors, not empty workloads."""
    with pytest.raises(TraceError, match=r"trace\.csv"):
        list(read_trace(written(tmp_path, text)))


def test_a_missing_file_and_one_that_is_no_text_are_refused(tmp_path: Path) -> None:
    """Whatever is wrong with the file is said by its name."""
    with pytest.raises(TraceError, match=r"cannot read .*none\.csv"):
        list(read_trace(tmp_path / "none.csv"))
    path = tmp_path / "binary.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TraceError, match="not UTF-8"):
        list(read_trace(path))
