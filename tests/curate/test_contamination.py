"""A definition that holds a function of a benchmark is known; one that is merely alike is not."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from flywheel.core.errors import UsageError
from flywheel.curate import contamination
from flywheel.curate.benchmarks import Problem, read_benchmark
from flywheel.curate.contamination import Match, Matcher, load_matcher
from flywheel.curate.fingerprints import PACKAGED, RUN, SCHEMA, fingerprints, functions
from flywheel.curate.normal import normal
from flywheel.curate.recipe import Contamination
from flywheel.curate.reviewed import entry, load_reviewed

TIDES = '''
def tides(levels, least):
    """Count the runs of levels that rise above the least."""
    count = 0
    above = False
    for place, level in enumerate(levels):
        if level > least and not above:
            count += 1
            above = True
        elif level <= least:
            above = False
    try:
        return count / len(levels)
    except ZeroDivisionError as error:
        raise ValueError("no levels") from error
'''
RENAMED = """
@cache
def swell(self, heights: list[float], floor: float) -> float:
    # Other names, and types.
    n: int = 0
    over: bool = False
    for i, h in enumerate(heights):
        if h > floor and not over:
            n += 1
            over = True
        elif h <= floor:
            over = False
    try:
        return n / len(heights)
    except ZeroDivisionError as e:
        raise ValueError("no levels") from e
""".replace(" = ...", "").replace("    n: int\n", "")
SHORT = "def total(a, b):\n    return a + b\n"
MIDDLE = "def spread(values):\n    return max(values) - min(values)\n"


def matcher(*texts: str, share: float = 0.5, run: int = RUN) -> Matcher:
    problems = [Problem(f"own/{number}", text) for number, text in enumerate(texts)]
    return Matcher(fingerprints("own", problems, run), run=run, share=share)


def matched(own: Matcher, *texts: str) -> list[Match]:
    return own.match([normal(text, "python") for text in texts])


@pytest.mark.parametrize(
    ("text", "how"),
    [
        (TIDES, "same-function"),
        (TIDES.replace("Count the runs", "Anything"), "same-function"),
        (TIDES.replace("levels, least", "levels: list[int], least: int"), "same-function"),
        (RENAMED, "renamed-function"),
        ("class Sea:\n    depth = 1\n" + RENAMED.replace("\n", "\n    "), "renamed-function"),
        ("def outer():\n    x = 1\n" + TIDES.replace("\n", "\n    "), "same-function"),
        (TIDES.replace("return count / len(levels)", "return count"), "run"),
    ],
)
def test_a_copy_is_known_by_what_is_surest(text: str, how: str) -> None:
    (found,) = matched(matcher(SHORT, TIDES), "x = 1", text)
    assert (found.text, found.benchmark, found.function, found.how) == (1, "own", "own/1", how)
    assert (found.share == 1) == (how != "run")


@pytest.mark.parametrize(
    "text",
    [
        RENAMED.replace("h <= floor", "h < floor"),
        RENAMED.replace("enumerate", "reversed"),
        RENAMED.replace('"no levels"', '"nothing"'),
        RENAMED.replace("n += 1", "over += 1"),
        "def other(values):\n    return sorted(values)[0]\n",
        "fn tides(levels: &[f64]) -> f64 { 0.0 }",
        "",
    ],
)
def test_what_does_something_else_is_no_copy(text: str) -> None:
    assert matched(matcher(TIDES), text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (SHORT, 1),
        (SHORT.replace("a, b", "a: int, b: int"), 1),
        (SHORT.replace("total", "add"), 0),
        (SHORT.replace("b", "c"), 0),
        (MIDDLE, 1),
        (MIDDLE.replace("values", "numbers"), 1),
        (MIDDLE.replace("spread", "range_of"), 0),
        ("def __init__(self, a, b):\n    self.a = a\n    self.b = b\n", 0),
    ],
)
def test_what_is_short_must_have_its_names_too(text: str, found: int) -> None:
    assert len(matched(matcher(SHORT, MIDDLE), text)) == found


def test_a_share_of_the_runs_is_enough_from_where_the_recipe_says() -> None:
    half = TIDES[: TIDES.index("    try:")]
    (found,) = matched(matcher(TIDES, share=0.3), half)
    assert found.how == "run"
    assert 0.3 <= found.share < 0.9
    assert matched(matcher(TIDES, share=0.9), half) == []


def test_a_text_of_words_is_known_by_its_runs() -> None:
    words = "Given the levels of a tide, count how often they rise above the least of all."
    own = matcher(words, "too short a text")
    assert [one.how for one in matched(own, f"x = {words!r}", "y = 'too short a text'")] == ["run"]


def test_many_definitions_are_matched_as_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    own = matcher(TIDES, SHORT, MIDDLE)
    texts = [TIDES, "x = 1", RENAMED, SHORT, "", MIDDLE, TIDES] * 3
    alone = [
        (number, one.function, one.how)
        for number, text in enumerate(texts)
        for one in matched(own, text)
    ]
    monkeypatch.setattr(contamination, "AT_ONCE", 4)
    found = matched(own, *texts)
    assert [(one.text, one.function, one.how) for one in found] == alone
    assert own.match([]) == []


def test_functions_are_found_wherever_they_stand() -> None:
    text = (
        "class A:\n\n    def f(self):\n\n        def g():\n            return 1\n        return g\n"
    )
    form = normal(text + "\nasync def h():\n    pass\n", "python")
    assert [name for name, _ in functions(form, nested=True)] == ["f", "g", "h"]
    assert [name for name, _ in functions(form, nested=False)] == ["f", "h"]
    inner = dict(functions(form, nested=True))["g"]
    assert inner.strip() == "def g():\n    return 1"


def test_the_packaged_fingerprints_are_of_all_functions_and_hold_no_text() -> None:
    known = pl.read_parquet(PACKAGED)
    assert dict(known.schema) == SCHEMA
    counts = dict(known.group_by("benchmark").agg(pl.col("function").n_unique()).iter_rows())
    assert counts == {"humaneval": 164, "mbpp": 974, "quixbugs": 40}
    assert known["function"].str.contains(r"^(HumanEval/\d+|\d+|[a-z_]+)$").all()
    assert known.null_count().sum_horizontal().item() == 0


def test_a_classic_that_a_benchmark_has_is_known_under_any_name() -> None:
    text = (
        "def common(x, y):\n    if y == 0:\n        return x\n    else:\n"
        "        return common(y, x % y)\n"
    )
    own = load_matcher(Contamination(benchmarks=("quixbugs",)), Path())
    (found,) = matched(own, text)
    assert (found.benchmark, found.function, found.how) == ("quixbugs", "gcd", "renamed-function")
    assert matched(load_matcher(Contamination(benchmarks=()), Path()), text) == []


def test_what_finds_the_functions_of_benchmarks_holds_none() -> None:
    folder = Path(contamination.__file__).parent
    texts = [path.read_text() for path in sorted(folder.glob("*.py"))]
    assert len(texts) > 10
    assert matched(load_matcher(Contamination(), Path()), *texts) == []


RECORDS = [
    {"task_id": "own/0", "prompt": TIDES[:27], "canonical_solution": TIDES[27:], "n": 1},
    {"task_id": 7, "code": MIDDLE.replace("\n", "\r\n"), "tests": ["assert 1"]},
]


@pytest.mark.parametrize("name", ["b.jsonl", "b.jsonl.gz", "b.json", "named.json", "b.parquet"])
def test_a_file_of_records_is_a_benchmark(tmp_path: Path, name: str) -> None:
    lines = "\n".join(map(json.dumps, RECORDS)).encode()
    match name:
        case "b.jsonl":
            (tmp_path / name).write_bytes(lines + b"\n\n")
        case "b.jsonl.gz":
            (tmp_path / name).write_bytes(gzip.compress(lines))
        case "b.json":
            (tmp_path / name).write_text(json.dumps(RECORDS))
        case "named.json":
            (tmp_path / name).write_text(json.dumps({"first": RECORDS[0], "second": RECORDS[1]}))
        case "b.parquet":
            rows = [{**record, "task_id": str(record["task_id"])} for record in RECORDS]
            pl.DataFrame(rows, strict=False, infer_schema_length=None).write_parquet(
                tmp_path / name
            )
    own = load_matcher(Contamination(benchmarks=(), files=(name,)), tmp_path)
    found = [(one.benchmark, one.function, one.how) for one in matched(own, RENAMED, MIDDLE)]
    assert found == [(name, "own/0", "renamed-function"), (name, "7", "same-function")]


def test_a_file_of_python_is_a_benchmark_of_its_functions(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(f"import os\n{TIDES}\n{MIDDLE}\nclass A:\n    x = 1\n")
    assert [one.function for one in read_benchmark(tmp_path / "own.py")] == ["tides", "spread", "A"]
    own = load_matcher(Contamination(files=("own.py",)), tmp_path)
    assert [one.function for one in matched(own, RENAMED)] == ["tides"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("b.csv", b"a,b", "ends in .jsonl, .jsonl.gz, .json, .parquet, .py"),
        ("none.py", None, "No such file"),
        ("b.py", b"def broken(:", "invalid syntax"),
        ("b.py", b"import os", "no record of it has any text"),
        ("b.py", b"\xff\xfe", "utf-8"),
        ("b.jsonl", b'{"code": "x"}\n{', "line 2"),
        ("b.jsonl", b"[1]", "line 1 is neither an object nor a text"),
        ("b.jsonl", b"", "no record of it has any text"),
        ("b.jsonl.gz", b"{}", "gzip"),
        ("b.json", b"7", "record 1 is neither"),
        ("b.json", b"{", "Expecting"),
        ("b.parquet", b"PAR", "parquet"),
        ("b.jsonl", b'{"code": "return 1"}', "no text of more than 13 tokens"),
    ],
)
def test_a_file_that_is_no_benchmark_is_told(
    tmp_path: Path, name: str, content: bytes | None, told: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load_matcher(Contamination(files=(name,)), tmp_path)
    assert name in caught.value.message
    assert told in str(caught.value.cause)
    assert caught.value.hint


def test_runs_of_another_length_are_for_files_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(TIDES)
    with pytest.raises(UsageError, match="runs of 13 tokens"):
        load_matcher(Contamination(run=8), tmp_path)
    own = load_matcher(Contamination(run=8, benchmarks=(), files=("own.py",)), tmp_path)
    assert matched(own, TIDES.replace("return count / len(levels)", "return 1"))[0].how == "run"


def test_a_match_that_a_person_found_false_is_let_pass(tmp_path: Path) -> None:
    form = normal(RENAMED, "python")
    match = Match(0, 'a "b" \\ file.py', "tides", "run", 0.61)
    other = Match(0, "own.py", "tides", "run", 0.61)
    assert load_reviewed(Contamination(), tmp_path).entries == ()
    (tmp_path / "reviewed.toml").write_text(entry(match, form))
    with pytest.raises(UsageError) as caught:
        load_reviewed(Contamination(), tmp_path)
    assert "false.0.why" in str(caught.value.cause)
    text = entry(match, form).replace('why = ""', 'why = "Everybody writes it so."')
    (tmp_path / "reviewed.toml").write_text(text)
    reviewed = load_reviewed(Contamination(), tmp_path)
    assert reviewed.lets_pass(match, form)
    assert not reviewed.lets_pass(other, form)
    assert not reviewed.lets_pass(match, form + "\n    pass")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[fals]]\n", "did you mean 'false'?"),
        ('[[false]]\nbenchmark = "a"\n', "false.0.function"),
        ("[[false]]\nbenchmrk = 'a'\n", "did you mean 'benchmark'?"),
        ("[[false]]\ndefinition = 'main'\n", "false.0.definition"),
    ],
)
def test_reviewed_matches_that_are_not_right_are_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "reviewed.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_reviewed(Contamination(), tmp_path)
    assert told in str(caught.value.cause)


def test_a_file_of_reviewed_matches_that_the_recipe_names_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"mine\.toml cannot be read"):
        load_reviewed(Contamination(reviewed="mine.toml"), tmp_path)
