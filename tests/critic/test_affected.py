"""Which tests a commit puts in doubt."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from flywheel.critic import Toolchain, compare, load_toolchains
from flywheel.critic.affected import (
    CALLS_CHANGED,
    SUPPORT_CHANGED,
    TEST_CHANGED,
    TEST_GONE,
    Affected,
)
from tests.critic.versions import FILES, LINES, PROFILE, version


@pytest.fixture(scope="module")
def toolchain() -> Toolchain:
    return load_toolchains([("pytest", PROFILE)])[0]


def between(
    toolchain: Toolchain,
    change: Mapping[str, str | None],
    *,
    files: Mapping[str, str] = FILES,
    lines: Mapping[str, Mapping[str, list[int]]] = LINES,
    lines_after: Mapping[str, Mapping[str, list[int]]] | None = None,
) -> Affected:
    """What lies between these files and the same with a change (None deletes a file)."""
    after = {path: text for path, text in {**files, **change}.items() if text is not None}
    return compare(
        version(toolchain, files, lines), version(toolchain, after, lines_after or lines)
    )


def edited(path: str, before: str, after: str, files: Mapping[str, str] = FILES) -> dict[str, str]:
    assert files[path].count(before) == 1
    return {path: files[path].replace(before, after)}


def doubted(affected: Affected) -> set[str]:
    assert not affected.everything
    return {test_id.rpartition("::")[2] for test_id in affected.tests}


def test_nothing_changed_is_no_doubt(toolchain: Toolchain) -> None:
    found = between(toolchain, {})
    assert not found.tests
    assert not found.everything


def test_a_test_that_could_come_to_changed_code_is_in_doubt(toolchain: Toolchain) -> None:
    # test_second never runs `first`, but a mutant of `second` may make it do so.
    found = between(toolchain, edited("pkg/a.py", "x + 1", "1 + x"))
    assert doubted(found) == {"test_first", "test_second"}
    assert set(found.tests.values()) == {CALLS_CHANGED}
    assert found.mentions("return second(x)")
    assert not found.mentions("return third(x)")


def test_a_changed_constant_is_followed_into_other_files(toolchain: Toolchain) -> None:
    assert doubted(between(toolchain, edited("pkg/a.py", "LIMIT = 3", "LIMIT = 4"))) == {"test_len"}


def test_a_method_is_reached_by_whoever_has_its_class(toolchain: Toolchain) -> None:
    assert doubted(between(toolchain, edited("pkg/b.py", "return 0", "return 1"))) == {"test_len"}


@pytest.mark.parametrize(
    "change",
    [
        {"README.md": "Read."},
        {"docs/index.md": "New."},
        {"LICENSE": "Free."},
        {".github/workflows/test.yml": "on: push"},
        edited("pkg/a.py", "def third", "# Comment.\n\n\n        def third"),
    ],
    ids=["readme", "docs", "license", "workflow", "comment between functions"],
)
def test_what_no_test_reads_is_no_doubt(
    toolchain: Toolchain, change: dict[str, str | None]
) -> None:
    found = between(toolchain, change)
    assert not found.tests
    assert not found.everything


@pytest.mark.parametrize(
    "change",
    [
        {"data.json": "{}"},
        {"tests/data/words.txt": "word"},
        {"setup.cfg": "[tool:pytest]"},
        {"tests/helper.py": "x = 1"},
        {"pkg/a.py": "def"},
        {"docs/example.py": "x = 1"},
        {"pkg/native.so": "x"},
    ],
    ids=["data", "test data", "settings", "helper", "no Python", "example", "binary"],
)
def test_what_anybody_may_read_puts_everything_in_doubt(
    toolchain: Toolchain, change: dict[str, str | None]
) -> None:
    assert between(toolchain, change).everything == SUPPORT_CHANGED


def test_a_document_that_a_test_names_is_no_document(toolchain: Toolchain) -> None:
    files = {**FILES, "tests/test_b.py": FILES["tests/test_b.py"] + "PATH = '../README.md'\n"}
    assert between(toolchain, {"README.md": "Other"}, files=files).everything


def test_a_changed_test_file_puts_its_own_tests_in_doubt(toolchain: Toolchain) -> None:
    found = between(toolchain, edited("tests/test_b.py", "== 3", ">= 3"))
    assert found.tests == {"tests/test_b.py::test_len": TEST_CHANGED}


def test_a_new_test_file_puts_nobody_in_doubt(toolchain: Toolchain) -> None:
    added = "from pkg.a import third\ndef test_more(): assert third(2) == 2\n"
    after = {**LINES, "tests/test_c.py::test_more": {"pkg/a.py": [9]}}
    found = between(toolchain, {"tests/test_c.py": added}, lines_after=after)
    assert found.tests.keys() == {"tests/test_c.py::test_more"}
    assert not found.everything


def test_a_test_file_that_others_import_is_followed(toolchain: Toolchain) -> None:
    helped = """
        from tests.test_a import check
        def test_len(): check(3)
        """
    helper = FILES["tests/test_a.py"] + "def check(x): assert x\n"
    files = {**FILES, "tests/test_a.py": helper, "tests/test_b.py": helped}
    change = {"tests/test_a.py": helper.replace("assert x", "assert x > 1")}
    assert "test_len" in doubted(between(toolchain, change, files=files))


def test_a_conftest_puts_the_tests_of_its_folder_in_doubt(toolchain: Toolchain) -> None:
    files = {**FILES, "tests/conftest.py": "x = 1"}
    found = between(toolchain, {"tests/conftest.py": "x = 2"}, files=files)
    assert set(found.tests) == set(LINES)


def test_a_test_that_judges_no_more_is_gone(toolchain: Toolchain) -> None:
    left = {test_id: found for test_id, found in LINES.items() if "third" not in test_id}
    found = between(toolchain, {}, lines_after=left)
    assert found.tests == {"tests/test_a.py::test_third": TEST_GONE}


def test_code_that_runs_at_import_and_binds_nothing_may_do_anything(toolchain: Toolchain) -> None:
    change = {"pkg/a.py": FILES["pkg/a.py"] + "print(LIMIT)\n"}
    found = between(toolchain, change)
    assert set(found.tests) == set(LINES)


def test_what_reaches_code_by_computed_names_is_always_in_doubt(toolchain: Toolchain) -> None:
    computed = FILES["pkg/b.py"].replace("return LIMIT", "return getattr(self, 'x' + 'y')")
    files = {**FILES, "pkg/b.py": computed}
    found = between(toolchain, edited("pkg/a.py", "x + 1", "1 + x"), files=files)
    assert "test_len" in doubted(found)


def test_a_new_file_may_be_imported_in_place_of_another(toolchain: Toolchain) -> None:
    files = {**FILES, "tests/test_b.py": "import json\ndef test_len(): assert json.dumps(1)\n"}
    found = between(toolchain, {"json.py": "def dumps(x): return x"}, files=files)
    assert "test_len" in doubted(found)


def test_a_fixture_that_runs_unasked_puts_its_file_in_doubt(toolchain: Toolchain) -> None:
    tests = """
        import pytest
        from pkg.a import first
        @pytest.fixture(autouse=True)
        def ready(): first(1)
        def test_len(): pass
        """
    files = {**FILES, "tests/test_b.py": tests}
    found = between(toolchain, edited("pkg/a.py", "x + 1", "1 + x"), files=files)
    assert "test_len" in doubted(found)


def test_a_registered_function_is_reached_through_its_registry(toolchain: Toolchain) -> None:
    registry = """
        TABLE = {}
        def register(function):
            TABLE[function.__name__] = function
            return function
        @register
        def hidden(): return 1
        def look(name): return TABLE[name]()
        """
    tests = "from pkg.r import look\ndef test_look(): assert look('hid' + 'den') == 1\n"
    files = {**FILES, "pkg/r.py": registry, "tests/test_r.py": tests}
    lines = {**LINES, "tests/test_r.py::test_look": {"pkg/r.py": [8]}}
    change = {"pkg/r.py": registry.replace("return 1", "return 2")}
    assert "test_look" in doubted(between(toolchain, change, files=files, lines=lines))
