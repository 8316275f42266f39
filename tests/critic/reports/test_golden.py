"""What each tool wrote is read as a person would read it."""

from collections.abc import Callable

import pytest

from flywheel.critic.reports import Report, Result

ReportOf = Callable[[str], Report]

P, F, E, S = "passed", "failed", "error", "skipped"

GO = {
    ".::TestAdd": F,
    ".::TestZero": P,
    ".::TestSkipped": S,
    ".::TestSilent": F,
    ".::ExampleAdd": F,
    "calc::TestTable/one": P,
    "calc::TestTable/größer_☃": F,
    "calc::TestTable/same": P,
    "calc::TestTable/same#01": P,
    "calc::TestParentItself": F,
    "calc::TestParentItself/fine": P,
    "calc::TestDeep/a/b": F,
    "calc::TestDeep/a/c": S,
    "calc::TestParallel/x": P,
    "calc::TestParallel/y": F,
    "calc::FuzzSeed/seed#0": F,
    "crash::TestBefore": P,
    "crash::TestNil/inner": F,
    "exit::TestExits": F,
    "hang::TestQuick": P,
    "hang::TestHang": F,
}
CARGO = {
    "zoo_park::cage::tests::closed": F,
    "zoo_park::tests::adds": F,
    "zoo_park::tests::does_not_panic": F,
    "zoo_park::tests::errs": F,
    "zoo_park::tests::ignored": S,
    "zoo_park::tests::größe": F,
    "zoo_park::tests::multi_line": F,
    "zoo_park::tests::other_panic": F,
    "zoo_park::tests::in_thread": F,
    "zoo_park::tests::panics": P,
    "zoo_park::tests::plain_assert": F,
    "zoo_park::tests::zero": P,
    "bin/tool::in_tool": F,
    "bin/zoo_park::in_main": P,
    "abort::a_fine": P,
    "zoo_park doc::src/lib.rs - add": F,
    "zoo_park doc::src/lib.rs - add #2": S,
    "zoo_park doc::src/lib.rs - add #3": P,
}
EXUNIT = {
    "test/zoo_test.exs::skipped": S,
    "test/zoo_test.exs::doctest module Zoo (1)": F,
    "test/zoo_test.exs::doctest Zoo.add/2 (2)": F,
    "test/zoo_test.exs::adds": F,
    "test/zoo_test.exs::zero": P,
    "test/zoo_test.exs::matches": F,
    "test/zoo_test.exs::raises": F,
    "test/zoo_test.exs::throws": F,
    "test/zoo_test.exs::exits": F,
    "test/zoo_test.exs::linked process dies": F,
    "test/zoo_test.exs::slow": F,
    "test/zoo_test.exs::flunks": F,
    "test/zoo_test.exs::not implemented": F,
    "test/zoo_test.exs::several": F,
    'test/zoo_test.exs::größe ☃ / same "quoted" \\ / ü': F,
    "test/zoo_test.exs::bad setup / never runs": E,
    "test/zoo_test.exs::first": E,
    "test/zoo_test.exs::second": E,
    "test/sub/other_test.exs::adds": F,
}
NODE_FILES = {f"test/{name}.test.js": E for name in ("aborts", "broken", "exits", "syntax")}
NODE = {
    "adds": F,
    "zero": P,
    "not a function": F,
    "skipped": S,
    "todo": S,
    "deep equal": F,
    "größe ☃ > is one": P,
    'größe ☃ > inner > fails <&> "quoted"': F,
    "größe ☃ > inner > same": P,
    "größe ☃ > inner > same #2": F,
    "hooks > never runs": E,
    "with subtests > first": P,
    "with subtests > second": F,
    "rejects": F,
    "slow": F,
}
VITEST = {
    "adds": F,
    "zero": P,
    "not a function": F,
    "skipped": S,
    "todo": S,
    "deep equal": F,
    "größe ☃ > is one": P,
    "größe ☃ > inner > fails > here": F,
    "größe ☃ > inner > same": P,
    "größe ☃ > inner > same #2": F,
    "slow": F,
}
HOOK = {"fine": P, "hooks > never runs": S}
UNITTEST = {
    "test_expected": S,
    "test_größe": F,
    "test_prints": P,
    "test_raises": F,
    "test_skipped": S,
    "test_subs": F,
    "test_unexpected": F,
    "test_zero": P,
    "test_doc": P,
}


def _all(prefix: str, table: dict[str, str]) -> dict[str, str]:
    return {prefix + name: outcome for name, outcome in table.items()}


@pytest.mark.parametrize(
    ("file", "outcomes"),
    [
        ("go-json/all.txt", GO),
        ("cargo/all.txt", CARGO),
        ("cargo/old.txt", {name: said for name, said in CARGO.items() if name != "abort::a_fine"}),
        (
            "cargo/one-thread.txt",
            {
                "abort::a_fine": P,
                "abort::b_aborts": F,
                "exits::a_fine": P,
                "exits::exits": F,
                "overflow::recurses": F,
            },
        ),
        ("cargo/compile-error.txt", {}),
        ("cargo/compile-error-old.txt", {}),
        ("cargo/compile-error-test.txt", {}),
        ("lines/exunit.jsonl", EXUNIT),
        ("lines/mix-compile-error.txt", {}),
        ("lines/mix-syntax-error.txt", {}),
        ("lines/node.jsonl", NODE_FILES | _all("test/zoo.test.js::", NODE)),
        ("junit/node.xml", NODE_FILES | NODE),
        (
            "junit/pytest.xml",
            {
                "test_a.TestZoo::test_adds": F,
                r"test_a.TestZoo::test_each[gr\xf6\xdfe]": P,
                r"test_a.TestZoo::test_each[a\x1bb]": F,
                "test_a::test_setup": E,
                "test_a::test_teardown": E,
                "test_a::test_skipped": S,
                "test_a::test_xfail": S,
                "test_a::test_raises": F,
            },
        ),
        (
            "junit/surefire.xml",
            {
                "zoo.CageTest::holds": P,
                "zoo.CageTest::adds": F,
                "zoo.CageTest::opens": F,
                "zoo.DoorTest::initializationError": E,
                "zoo.CageTest::later": S,
            },
        ),
        (
            "junit/phpunit.xml",
            {
                "Zoo.CageTest::testHolds": P,
                "Zoo.CageTest::testEach with data set #0": P,
                "Zoo.CageTest::testEach with data set #1": F,
            },
        ),
        ("tap/node.tap", NODE_FILES | NODE),
        (
            "tap/prove.tap",
            {
                "t/basic.t::adds": P,
                "t/basic.t::differs": F,
                "t/basic.t::nested gr\ufffd\ufffde > inner fine": P,
                "t/basic.t::nested gr\ufffd\ufffde > inner bad": F,
                "t/basic.t::4": P,
                "t/basic.t::5": S,
                "t/basic.t::todo one": S,
                "t/basic.t::same": P,
                "t/basic.t::same #2": F,
                "t/dies.t::first": P,
                "t/zbail.t::first": P,
            },
        ),
        (
            "tap/tape.tap",
            {
                "adds > should be strictly equal": F,
                "adds > own words": P,
                "größe > deep": F,
                "throws > should throw": F,
                "throws > plan != count": F,
            },
        ),
        ("vitest-json/vitest.json", _all("vi/zoo.test.js::", VITEST | {"hooks > never runs": S})),
        (
            "vitest-json/hook.json",
            {f"hk/hook.test.js::{name}": said for name, said in HOOK.items()},
        ),
        ("vitest-json/jest.json", _all("je/zoo.test.js::", VITEST | {"hooks > never runs": F})),
        (
            "unittest/all.txt",
            _all("sub.test_other.TestZoo.", UNITTEST | {"test_adds": P})
            | _all("test_zoo.TestZoo.", UNITTEST | {"test_adds": F})
            | {"test_zoo.TestSetUp.test_one": E},
        ),
        ("doctest/all.txt", {"doc": F, "doc.add": F, "doc.Größe": P, "doc.fine": P}),
    ],
)
def test_each_test_has_its_id_and_its_outcome(
    file: str, outcomes: dict[str, str], report_of: ReportOf
) -> None:
    report = report_of(file)
    assert {result.test_id: result.outcome for result in report.results} == outcomes
    assert report.complete


@pytest.mark.parametrize(
    ("file", "test_id", "kind", "message", "assertion"),
    [
        (
            "go-json/all.txt",
            ".::TestAdd",
            "Failed",
            "Add(1, 2) = -1, want 3",
            "Add(1, 2) = -1, want 3",
        ),
        ("go-json/all.txt", "calc::TestTable/größer_☃", "Failed", "got 2", "got 2\nwant 1"),
        (
            "go-json/all.txt",
            "crash::TestNil/inner",
            "panic",
            "runtime error: invalid memory address or nil pointer dereference",
            "",
        ),
        ("go-json/all.txt", "hang::TestHang", "panic", "test timed out after 3s", ""),
        (
            "cargo/all.txt",
            "zoo_park::tests::adds",
            "panic",
            "assertion `left == right` failed: sum of 1",
            "left: -1\nright: 3",
        ),
        (
            "cargo/old.txt",
            "zoo_park::tests::adds",
            "panic",
            "assertion failed: `(left == right)`: sum of 1",
            "left: -1\nright: 3",
        ),
        (
            "cargo/all.txt",
            "zoo_park::tests::in_thread",
            "panic",
            "called `Result::unwrap()` on an `Err` value: Any { .. }",
            "",
        ),
        (
            "cargo/all.txt",
            "zoo_park::tests::other_panic",
            "panic",
            "panic did not contain expected string",
            'panic message: "bang"\nexpected substring: "boom"',
        ),
        (
            "cargo/one-thread.txt",
            "abort::b_aborts",
            "ProcessDied",
            "the test process died: signal: 6, SIGABRT: process abort signal",
            "",
        ),
        (
            "lines/exunit.jsonl",
            "test/zoo_test.exs::matches",
            "ExUnit.AssertionError",
            "match (=) failed",
            "code: assert {:ok, _} = {:error, self()}\nleft: {:ok, _}\nright: {:error, #PID<...>}",
        ),
        (
            "lines/node.jsonl",
            "test/zoo.test.js::adds",
            "AssertionError",
            "Expected values to be strictly equal:",
            "expected: 3\nactual: -1",
        ),
        ("lines/node.jsonl", "test/zoo.test.js::hooks > never runs", "Error", "no database", ""),
        (
            "junit/node.xml",
            "with subtests > second",
            "AssertionError",
            "1 == 2",
            "expected: 2\nactual: 1",
        ),
        (
            "junit/surefire.xml",
            "zoo.CageTest::adds",
            "AssertionFailedError",
            "expected: <3> but was: <-1>",
            "expected: <3> but was: <-1>",
        ),
        (
            "tap/node.tap",
            "adds",
            "AssertionError",
            "Expected values to be strictly equal:",
            "expected: 3\nactual: -1",
        ),
        ("tap/node.tap", "hooks > never runs", "Error", "no database", ""),
        (
            "tap/prove.tap",
            "t/basic.t::differs",
            "Failed",
            "Failed test 'differs'",
            "got: '1'\nexpected: '2'",
        ),
        (
            "vitest-json/vitest.json",
            "vi/zoo.test.js::adds",
            "AssertionError",
            "expected -1 to be 3 // Object.is equality",
            "expected: 3\nreceived: -1",
        ),
        (
            "vitest-json/jest.json",
            "je/zoo.test.js::slow",
            "Timeout",
            "Exceeded timeout of 20 ms for a test.",
            "",
        ),
        (
            "unittest/all.txt",
            "test_zoo.TestSetUp.test_one",
            "RuntimeError",
            "no database",
            "",
        ),
        (
            "doctest/all.txt",
            "doc.add",
            "DocTestFailure",
            "add(1, 2) gave another output",
            "add(1, 2)\nexpected: 3\ngot: -1",
        ),
    ],
)
def test_a_failure_says_its_class_message_and_both_values(
    file: str, test_id: str, kind: str, message: str, assertion: str, report_of: ReportOf
) -> None:
    result = _result(report_of(file), test_id)
    assert result.failure is not None
    assert result.failure.test_id == test_id
    told = (result.failure.type, result.failure.message, result.failure.assertion)
    assert told == (kind, message, assertion)


def _result(report: Report, test_id: str) -> Result:
    (result,) = [result for result in report.results if result.test_id == test_id]
    return result


@pytest.mark.parametrize(
    ("file", "kind", "message", "also"),
    [
        (
            "go-json/all.txt",
            "CompileError",
            (
                'broken/broken.go:3:23: cannot use "text" (untyped string constant) as int value in'
                " return statement"
            ),
            ["undefined: undefined", "vet/vet_test.go:8:30", "initpanic:", "no database"],
        ),
        (
            "cargo/compile-error.txt",
            "CompileError",
            "error[E0277]: cannot subtract `&str` from `i32`",
            ["--> src/lib.rs:3:7", "error[E0308]: mismatched types"],
        ),
        (
            "cargo/compile-error-old.txt",
            "CompileError",
            "error[E0277]: cannot subtract `&str` from `i32`",
            ["--> src/lib.rs:3:7", "error[E0308]: mismatched types"],
        ),
        (
            "cargo/compile-error-test.txt",
            "CompileError",
            "error[E0425]: cannot find function `two` in crate `cracked`",
            ["--> tests/it.rs:2:32"],
        ),
        (
            "cargo/all.txt",
            "ProcessDied",
            "abort: the test process died: signal: 6, SIGABRT: process abort signal",
            ["exits: the test process died: exit status: 3", "has overflowed its stack"],
        ),
        (
            "lines/mix-compile-error.txt",
            "CompileError",
            (
                "lib/zoo.ex:2: undefined function undefined_fun/2 (expected Zoo to define such a"
                " function or for it to be imported, but none are available)"
            ),
            ["== Compilation error in file lib/zoo.ex =="],
        ),
        (
            "lines/mix-syntax-error.txt",
            "SyntaxError",
            (
                'test/bad_test.exs:5:3: unexpected reserved word: end. The "(" at line 4 is missing'
                ' terminator ")"'
            ),
            [],
        ),
        (
            "lines/node.jsonl",
            "FileError",
            "test/aborts.test.js: test failed (it ended with SIGABRT)",
            ["Error: Cannot find module './missing.js'", "SyntaxError: Unexpected token ';'"],
        ),
        ("junit/node.xml", "FileError", "test/aborts.test.js: test failed", ["exitCode: 3"]),
        (
            "junit/pytest.xml",
            "ModuleNotFoundError",
            "test_b: No module named 'missing_module'",
            ["import missing_module"],
        ),
        (
            "tap/node.tap",
            "FileError",
            "test/aborts.test.js: test failed (it ended with SIGABRT)",
            ["Error: Cannot find module './missing.js'"],
        ),
        (
            "tap/prove.tap",
            "CompileError",
            'syntax error at t/broken.t line 1, near "= ;"',
            ["crashed at t/dies.t line 1.", "no more"],
        ),
        (
            "vitest-json/vitest.json",
            "Error",
            "Cannot find module './missing.js' imported from 'vi/broken.test.js'",
            ["At file: vi/syntax.test.js:2:10", "at import"],
        ),
        (
            "vitest-json/hook.json",
            "HookError",
            "hk/hook.test.js: no test failed, and the file did: a hook of it must have failed",
            [],
        ),
        (
            "vitest-json/jest.json",
            "Error",
            "je/broken.test.js: Cannot find module './missing.js' from 'broken.test.js'",
            ["SyntaxError: je/syntax.test.js: Unexpected token (1:10)", "RangeError: at import"],
        ),
        (
            "unittest/all.txt",
            "ModuleNotFoundError",
            "test_broken: No module named 'missing_module'",
            ["SyntaxError: invalid syntax", "RuntimeError: no cluster"],
        ),
    ],
)
def test_what_kept_tests_from_running_is_told(
    file: str, kind: str, message: str, also: list[str], report_of: ReportOf
) -> None:
    broken = report_of(file).broken
    assert broken is not None
    assert (broken.test_id, broken.phase) == ("", "collect")
    assert (broken.type, broken.message) == (kind, message)
    for text in also:
        assert text in broken.traceback


def test_a_panic_shows_the_frames_of_the_repository_alone(report_of: ReportOf) -> None:
    failure = _result(report_of("go-json/all.txt"), "crash::TestNil/inner").failure
    assert failure is not None
    assert failure.traceback.splitlines()[3:] == [
        "goroutine [running]:",
        "    [3 library frames]",
        "crash/crash_test.go:12: in example.com/zoo/crash.TestNil.func1",
        "    [2 library frames]",
    ]


def test_the_compilers_tour_of_the_standard_library_is_left_out(report_of: ReportOf) -> None:
    broken = report_of("cargo/compile-error.txt").broken
    assert broken is not None
    assert "other types implement" not in broken.traceback
    assert "/rustc/" not in broken.traceback


@pytest.mark.parametrize(
    ("file", "test_id", "path"),
    [
        ("cargo/all.txt", "abort::a_fine", "tests/abort.rs"),
        ("cargo/all.txt", "zoo_park doc::src/lib.rs - add", "src/lib.rs"),
        ("lines/exunit.jsonl", "test/sub/other_test.exs::adds", "test/sub/other_test.exs"),
        ("lines/node.jsonl", "test/zoo.test.js::zero", "test/zoo.test.js"),
        ("junit/phpunit.xml", "Zoo.CageTest::testHolds", "tests/CageTest.php"),
        ("tap/prove.tap", "t/basic.t::adds", "t/basic.t"),
        ("vitest-json/jest.json", "je/zoo.test.js::zero", "je/zoo.test.js"),
        ("go-json/all.txt", ".::TestZero", ""),
    ],
)
def test_a_test_names_its_file_where_the_report_does(
    file: str, test_id: str, path: str, report_of: ReportOf
) -> None:
    assert _result(report_of(file), test_id).path == path


def test_seconds_are_read_in_each_tools_unit(report_of: ReportOf) -> None:
    assert _result(report_of("junit/surefire.xml"), "zoo.CageTest::holds").seconds == 1001.5
    assert 0.01 < _result(report_of("tap/node.tap"), "slow").seconds < 1
    assert 0.01 < _result(report_of("vitest-json/vitest.json"), "vi/zoo.test.js::slow").seconds < 1
