"""Which tests a commit puts in doubt."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from flywheel.critic import compare
from flywheel.critic.affected import (
    CALLS_CHANGED,
    SUPPORT_CHANGED,
    TEST_CHANGED,
    TEST_GONE,
    Affected,
)
from tests.critic.versions import FILES, LINES, edited, version


def between(
    change: Mapping[str, str | None],
    *,
    files: Mapping[str, str] = FILES,
    lines: Mapping[str, Mapping[str, list[int]]] = LINES,
    lines_after: Mapping[str, Mapping[str, list[int]]] | None = None,
) -> Affected:
    """What lies between these files and the same with a change (None deletes a file)."""
    after = {path: text for path, text in {**files, **change}.items() if text is not None}
    return compare(version(files, lines), version(after, lines_after or lines))


def doubted(affected: Affected) -> set[str]:
    assert not affected.everything
    return {test_id.rpartition("::")[2] for test_id in affected.tests}


def test_nothing_changed_is_no_doubt() -> None:
    found = between({})
    assert not found.tests
    assert not found.everything


def test_a_test_that_could_come_to_changed_code_is_in_doubt() -> None:
    # test_second never runs `first`, but a mutant of `second` may make it do so.
    found = between(edited("pkg/a.py", "x + 1", "1 + x"))
    assert doubted(found) == {"test_first", "test_second"}
    assert set(found.tests.values()) == {CALLS_CHANGED}
    assert found.mentions("return second(x)")
    assert not found.mentions("return third(x)")


def test_a_changed_constant_is_followed_into_other_files() -> None:
    assert doubted(between(edited("pkg/a.py", "LIMIT = 3", "LIMIT = 4"))) == {"test_len"}


def test_a_method_is_reached_by_whoever_has_its_class() -> None:
    assert doubted(between(edited("pkg/b.py", "return 0", "return 1"))) == {"test_len"}


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
def test_what_no_test_reads_is_no_doubt(change: dict[str, str | None]) -> None:
    found = between(change)
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
def test_what_anybody_may_read_puts_everything_in_doubt(change: dict[str, str | None]) -> None:
    assert between(change).everything == SUPPORT_CHANGED


def test_a_document_that_a_test_names_is_no_document() -> None:
    files = {**FILES, "tests/test_b.py": FILES["tests/test_b.py"] + "PATH = '../README.md'\n"}
    assert between({"README.md": "Other"}, files=files).everything


def test_a_changed_test_file_puts_its_own_tests_in_doubt() -> None:
    found = between(edited("tests/test_b.py", "== 3", ">= 3"))
    assert found.tests == {"tests/test_b.py::test_len": TEST_CHANGED}


def test_a_new_test_file_puts_nobody_in_doubt() -> None:
    added = "from pkg.a import third\ndef test_more(): assert third(2) == 2\n"
    after = {**LINES, "tests/test_c.py::test_more": {"pkg/a.py": [9]}}
    found = between({"tests/test_c.py": added}, lines_after=after)
    assert found.tests.keys() == {"tests/test_c.py::test_more"}
    assert not found.everything


def test_a_test_file_that_others_import_is_followed() -> None:
    helped = """
        from tests.test_a import check
        def test_len(): check(3)
        """
    helper = FILES["tests/test_a.py"] + "def check(x): assert x\n"
    files = {**FILES, "tests/test_a.py": helper, "tests/test_b.py": helped}
    change = {"tests/test_a.py": helper.replace("assert x", "assert x > 1")}
    assert "test_len" in doubted(between(change, files=files))


def test_a_conftest_puts_the_tests_of_its_folder_in_doubt() -> None:
    files = {**FILES, "tests/conftest.py": "x = 1"}
    found = between({"tests/conftest.py": "x = 2"}, files=files)
    assert set(found.tests) == set(LINES)


def test_a_test_that_judges_no_more_is_gone() -> None:
    left = {test_id: found for test_id, found in LINES.items() if "third" not in test_id}
    found = between({}, lines_after=left)
    assert found.tests == {"tests/test_a.py::test_third": TEST_GONE}


def test_code_that_runs_at_import_and_binds_nothing_may_do_anything() -> None:
    change = {"pkg/a.py": FILES["pkg/a.py"] + "print(LIMIT)\n"}
    found = between(change)
    assert set(found.tests) == set(LINES)


def test_what_reaches_code_by_computed_names_is_always_in_doubt() -> None:
    computed = FILES["pkg/b.py"].replace("return LIMIT", "return getattr(self, 'x' + 'y')")
    files = {**FILES, "pkg/b.py": computed}
    found = between(edited("pkg/a.py", "x + 1", "1 + x"), files=files)
    assert "test_len" in doubted(found)


def test_a_new_file_may_be_imported_in_place_of_another() -> None:
    files = {**FILES, "tests/test_b.py": "import json\ndef test_len(): assert json.dumps(1)\n"}
    found = between({"json.py": "def dumps(x): return x"}, files=files)
    assert "test_len" in doubted(found)


def test_a_fixture_that_runs_unasked_puts_its_file_in_doubt() -> None:
    tests = """
        import pytest
        from pkg.a import first
        @pytest.fixture(autouse=True)
        def ready(): first(1)
        def test_len(): pass
        """
    files = {**FILES, "tests/test_b.py": tests}
    found = between(edited("pkg/a.py", "x + 1", "1 + x"), files=files)
    assert "test_len" in doubted(found)


def test_a_registered_function_is_reached_through_its_registry() -> None:
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
    assert "test_look" in doubted(between(change, files=files, lines=lines))
