"""What holds for every format: the same text each time, and no output that breaks a reader."""

import json
import random
import re
import time
from collections.abc import Callable

import pytest

from flywheel.core.errors import ReportError
from flywheel.critic.reports import FORMATS, OUTCOMES, Report, read
from flywheel.critic.reports.report import Gathering
from tests.critic.reports.conftest import DATA, MODULE

ReportOf = Callable[[str], Report]

FILES = sorted(path.relative_to(DATA).as_posix() for path in DATA.glob("*/*"))
TWICE = [
    (file, again)
    for file in FILES
    for again in (
        file.replace("all.", "again."),
        re.sub(r"^(.*)\.(\w+)$", r"\1-again.\2", file),
    )
    if again != file and again in FILES
]


def _read(file: str, output: bytes) -> Report | None:
    try:
        return read(file.partition("/")[0], output, module=MODULE)
    except ReportError:
        return None


def _texts(report: Report) -> dict[str, tuple[str, ...]]:
    failures = [result.failure for result in report.results if result.failure]
    failures += [report.broken] if report.broken else []
    return {f.test_id: (f.type, f.message, f.assertion, f.traceback) for f in failures}


def test_every_format_has_examples() -> None:
    assert {file.partition("/")[0] for file in FILES} == set(FORMATS)
    assert len(TWICE) >= len(FORMATS)


@pytest.mark.parametrize(("file", "again"), TWICE, ids=[file for file, _ in TWICE])
def test_a_second_run_gives_the_very_same_text(file: str, again: str, report_of: ReportOf) -> None:
    first, second = report_of(file), report_of(again)
    assert _texts(first) == _texts(second)
    assert {r.test_id: (r.path, r.outcome) for r in first.results} == {
        r.test_id: (r.path, r.outcome) for r in second.results
    }


@pytest.mark.parametrize("file", FILES)
def test_results_are_unique_short_and_free_of_noise(file: str, report_of: ReportOf) -> None:
    report = report_of(file)
    ids = [result.test_id for result in report.results]
    assert len(ids) == len(set(ids))
    for result in report.results:
        assert result.outcome in OUTCOMES
        assert (result.failure is not None) == (result.outcome in ("failed", "error"))
        assert not result.path.startswith("/")
    for columns in _texts(report).values():
        text = "\n".join(columns)
        assert "/repo/" not in text
        assert "\x1b" not in text
        assert not re.search(r"0x[0-9a-f]{6,}|#PID<\d|goroutine \d", text)
        assert all(len(column.splitlines()) <= 42 for column in columns)


@pytest.mark.parametrize("file", FILES)
def test_an_output_cut_short_tells_what_came_before(file: str) -> None:
    output = (DATA / file).read_bytes()
    whole = _read(file, output)
    assert whole is not None
    outcomes = {result.test_id: result.outcome for result in whole.results}
    most = 0
    # Every 50th byte of a short file; of a long one fewer, for time's sake.
    for end in range(0, len(output), max(50, len(output) // 400)):
        report = _read(file, output[:end])
        if report is None:
            continue
        most = max(most, sum(outcomes.get(r.test_id) == r.outcome for r in report.results))
    # vitest tells file by file, and its one file with tests stands last.
    if not file.startswith(("vitest-json/vitest", "doctest/")) and len(outcomes) > 3:
        assert most >= len(outcomes) // 2


@pytest.mark.parametrize("file", FILES)
def test_an_output_with_flipped_bytes_is_read_or_refused(file: str) -> None:
    output = (DATA / file).read_bytes()
    chance = random.Random(file)
    started = time.monotonic()
    for _ in range(60):
        bad = bytearray(output)
        for _ in range(chance.choice((1, 5, 50, 500))):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        _read(file, bytes(bad))
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize(
    "output", [b"", b"\n\n", b"hello\nworld\n", b"\xff\xfe\x00", b"{}", b"[[[[", b"<html></html>"]
)
def test_what_is_no_report_is_refused(format_name: str, output: bytes) -> None:
    with pytest.raises(ReportError, match=f"no report of the format {format_name}") as caught:
        read(format_name, output, command="make check")
    assert "make check" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize(
    "piece",
    [b"{", b"[", b'{"a":', b"<a>", b"/a", b"    ", b"(", b"test a ... ", b"ok 1\n", b"'", b"\x1b]"],
)
def test_a_flood_of_one_thing_does_not_hang_a_reader(format_name: str, piece: bytes) -> None:
    heads = {"junit": b"<testsuites>", "cargo": b"     Running x (x)\nrunning 9 tests\n"}
    started = time.monotonic()
    _read(f"{format_name}/", heads.get(format_name, b"") + piece * (200_000 // len(piece)))
    assert time.monotonic() - started < 10


def test_an_unknown_format_is_named_with_those_there_are() -> None:
    with pytest.raises(ReportError) as caught:
        read("go-jsn", b"")
    assert caught.value.hint == "Did you mean 'go-json'?"
    assert "cargo" in (caught.value.cause or "")


def test_equal_ids_are_numbered_around_ids_that_look_numbered() -> None:
    gathering = Gathering(root="/repo")
    for name in ("a", "a #2", "a", "a", "b"):
        gathering.add(name, "passed")
    assert [r.test_id for r in gathering.report().results] == ["a", "a #2", "a #3", "a #4", "b"]


def test_paths_below_another_root_are_made_relative() -> None:
    line = (
        b'{"id": "a", "outcome": "failed", "failure": {"message": "in /home/zoo/x.py, /repo2/y"}}'
    )
    (result,) = read("lines", line, root="/home/zoo").results
    assert result.failure is not None
    assert result.failure.message == "in x.py, /repo2/y"


@pytest.mark.parametrize(
    "declaration",
    [
        b'<!DOCTYPE a [<!ENTITY x "yyyy"><!ENTITY z "&x;&x;&x;">]>',
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
        b'<!DOCTYPE a SYSTEM "http://localhost/a.dtd">',
    ],
)
def test_xml_that_declares_a_type_is_refused(declaration: bytes) -> None:
    case = b'<testsuite><testcase name="a" classname="&z;&x;"/></testsuite>'
    with pytest.raises(ReportError, match="document type"):
        read("junit", declaration + case)


def test_an_entity_that_is_nowhere_declared_expands_to_nothing() -> None:
    report = read("junit", b'<testsuite><testcase name="a" classname="b"/>&z;</testsuite>')
    assert [result.test_id for result in report.results] == ["b::a"]
    assert not report.complete


def test_characters_that_xml_forbids_do_not_end_a_report() -> None:
    case = (
        b'<testcase name="a&#27;[31m\x08" classname="b"><failure>\x1b[31mred</failure></testcase>'
    )
    report = read("junit", b"<testsuite>" + case + b"</testsuite>")
    assert report.complete
    assert report.results[0].failure is not None
    assert report.results[0].failure.traceback == "red"


def test_a_go_run_that_was_killed_names_the_test_that_ran() -> None:
    output = (DATA / "go-json/all.txt").read_bytes()
    cut = output[: output.index(b"panic: test timed out")]
    report = read("go-json", cut[: cut.rindex(b"\n") + 1], module=MODULE)
    assert not report.complete
    assert report.unfinished == ("hang::TestHang",)


def test_a_cargo_run_that_was_killed_names_the_test_that_ran() -> None:
    output = (DATA / "cargo/one-thread.txt").read_bytes()
    report = read("cargo", output[: output.index(b"b_aborts ... ") + len(b"b_aborts ... ")])
    assert not report.complete
    assert report.unfinished == ("abort::b_aborts",)


@pytest.mark.parametrize(
    ("file", "begun"),
    [
        ("lines/node.jsonl", "test/zoo.test.js::größe ☃ > inner > same"),
        ("lines/exunit.jsonl", "test/zoo_test.exs::slow"),
    ],
)
def test_lines_that_were_cut_name_the_test_that_ran(file: str, begun: str) -> None:
    lines = (DATA / file).read_bytes().splitlines(keepends=True)
    place = next(n for n, line in enumerate(lines) if f'{{"begin":"{begun}"}}'.encode() in line)
    report = read("lines", b"".join(lines[: place + 1]))
    assert not report.complete
    assert report.unfinished == (begun,)


def test_newer_go_tells_a_failed_build_in_events() -> None:
    events = (
        b'{"ImportPath":"m/a [m/a.test]","Action":"build-output","Output":"# m/a [m/a.test]\\n"}\n'
        b'{"ImportPath":"m/a [m/a.test]","Action":"build-output","Output":"a/a.go:3:1: bad\\n"}\n'
        b'{"ImportPath":"m/a [m/a.test]","Action":"build-fail"}\n'
        b'{"Action":"start","Package":"m/a"}\n'
        b'{"Action":"output","Package":"m/a","Output":"FAIL\\tm/a [build failed]\\n"}\n'
        b'{"Action":"fail","Package":"m/a","Elapsed":0,"FailedBuild":"m/a [m/a.test]"}\n'
    )
    report = read("go-json", events, module="m")
    assert report.broken is not None
    assert (report.broken.type, report.broken.message) == ("CompileError", "a/a.go:3:1: bad")
    assert report.complete


def test_an_assertion_library_of_go_tells_both_values() -> None:
    text = (
        "    z_test.go:9: \n        \tError Trace:\tz_test.go:9\n"
        "        \tError:      \tNot equal: \n"
        "        \t            \texpected: 3\n        \t            \tactual  : -1\n"
        "        \tTest:       \tTestZ\n"
    )
    events = [
        {"Action": "run", "Package": "m", "Test": "TestZ"},
        *(
            {"Action": "output", "Package": "m", "Test": "TestZ", "Output": line}
            for line in text.splitlines(keepends=True)
        ),
        {"Action": "fail", "Package": "m", "Test": "TestZ"},
        {"Action": "fail", "Package": "m"},
    ]
    output = "".join(json.dumps(event) + "\n" for event in events).encode()
    failure = read("go-json", output, module="m").results[0].failure
    assert failure is not None
    assert failure.message == "Not equal:"
    assert failure.assertion == "expected: 3\nactual: -1"


@pytest.mark.parametrize("end", ["\x85", "\u2028", "\u2029"])
def test_what_unicode_takes_for_the_end_of_a_line_ends_no_line_of_json(end: str) -> None:
    entries = [{"start": True}, {"id": f"a.js::x{end}y", "outcome": "passed"}, {"end": True}]
    output = "\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    report = read("lines", output.encode())
    assert [result.outcome for result in report.results] == ["passed"]
    event = {"Action": "pass", "Package": "p", "Test": f"x{end}y"}
    output = json.dumps(event, ensure_ascii=False) + "\n"
    assert [result.outcome for result in read("go-json", output.encode()).results] == ["passed"]


@pytest.mark.parametrize("seconds", ["1" + "0" * 400, "1e999", "-1", '"long"', "null", "[1]"])
def test_a_duration_that_is_none_is_left_out(seconds: str) -> None:
    output = f'{{"id": "a", "outcome": "passed", "seconds": {seconds}}}\n{{"end": true}}\n'
    assert read("lines", output.encode()).results[0].seconds == 0.0
    event = f'{{"Action": "pass", "Package": "p", "Test": "a", "Elapsed": {seconds}}}\n'
    assert read("go-json", event.encode()).results[0].seconds == 0.0
    tests = f'[{{"title": "a", "status": "passed", "duration": {seconds}}}]'
    files = f'{{"testResults": [{{"name": "a.js", "assertionResults": {tests}}}]}}'
    assert read("vitest-json", files.encode()).results[0].seconds == 0.0


def test_a_terminal_sequence_without_an_end_takes_no_more_than_its_line() -> None:
    output = b"1..2\n\x1b]0;title of the window\nok 1 - a\nok 2 - b\n"
    assert [result.test_id for result in read("tap", output).results] == ["a", "b"]


@pytest.mark.parametrize(
    "printed", ["Loading ... done", "Loading ...", "main.js ... ok", "All tests successful"]
)
def test_what_tests_print_is_not_taken_for_words_of_prove(printed: str) -> None:
    before = "" if printed.startswith("main") else f"{printed}\n"
    report = read("tap", f"1..2\n{before}ok 1 - a\n{printed}\nok 2 - b\n".encode())
    assert [result.test_id for result in report.results] == ["a", "b"]
    assert report.complete


def test_the_word_of_prove_below_a_files_tests_is_no_test() -> None:
    output = b"t/a.t .. \nok 1 - a\nok\n1..2\nok\nAll tests successful.\nFiles=1, Tests=2\n"
    report = read("tap", output)
    assert [result.test_id for result in report.results] == ["t/a.t::a", "t/a.t::?"]
    assert report.complete


@pytest.mark.parametrize("printed", ["", "said\n"])
def test_a_rust_test_that_ends_its_process_as_if_all_were_well_is_named(printed: str) -> None:
    output = f"""     Running unittests src/lib.rs (target/debug/deps/zoo-0123456789abcdef)
running 2 tests
test a ... ok
test b ... {printed}     Running tests/t.rs (target/debug/deps/t-0123456789abcdef)
running 1 test
test c ... ok
test result: ok. 1 passed; 0 failed
"""
    report = read("cargo", output.encode())
    assert [(one.test_id, one.outcome) for one in report.results] == [
        ("zoo::a", "passed"),
        ("zoo::b", "failed"),
        ("t::c", "passed"),
    ]
    assert report.broken is not None
    assert report.broken.type == "ProcessDied"


def test_a_go_test_that_prints_of_a_panic_and_passes_has_not_panicked() -> None:
    events = [
        {"Action": "run", "Package": "p", "Test": "TestA"},
        {"Action": "output", "Package": "p", "Test": "TestA", "Output": "panic: caught\n"},
        {"Action": "pass", "Package": "p", "Test": "TestA"},
        {"Action": "output", "Package": "p", "Output": "tear-down went wrong\n"},
        {"Action": "fail", "Package": "p"},
    ]
    report = read("go-json", "".join(f"{json.dumps(event)}\n" for event in events).encode())
    assert [one.outcome for one in report.results] == ["passed"]
    assert report.broken is not None
    assert report.broken.type == "SetupError"


def test_a_banner_that_a_test_prints_does_not_end_the_results_of_unittest() -> None:
    bar, rule = "=" * 70, "-" * 70
    output = f"""test_a (m.T.test_a) ... {bar}
{bar}
ok
test_b (m.T.test_b) ... ok
{rule}
Ran 2 tests in 0.001s

OK
"""
    report = read("unittest", output.encode())
    assert [(one.test_id, one.outcome) for one in report.results] == [
        ("m.T.test_a", "passed"),
        ("m.T.test_b", "passed"),
    ]
