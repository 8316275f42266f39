from __future__ import annotations

import pytest

from flywheel.git.changelog import CUT, LARGEST, is_changelog, section

UNDERLINED = (
    "Changes\n=======\n\n1.2.0 (2020-01-01)\n------------------\n\n- a\n\n1.1\n---\n\n- b\n"
)
WORDS = (
    "What's new in 1.2.0\n-------------------\n- a\n\nNew in version 1.1\n---------------\n- b\n"
)
BARE = "  1.2.0\n\n---\n\n- a\n- 1.1 is gone\n3.14 is pi\n\n## 1.1\n\n- b\n"


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("CHANGES.rst", UNDERLINED, "- a"),
        ("docs/whatsnew.rst", WORDS, "- a"),
        ("CHANGELOG.md", BARE, "---\n\n- a\n- 1.1 is gone\n3.14 is pi"),
        ("HISTORY.rst", "=====\n1.2.0\n=====\n\n- a\n\n===\n1.1\n===\n- b\n", "- a"),
        ("NEWS", "Version 1.2.0\n\n- a\n\n1.1 (unreleased)\n- b\n", "- a"),
        ("NEWS.txt", "1.2.0 - 2020-01-01\n\n- a\n\nv1.1:\n- b\n", "- a"),
        ("docs/changelog.md", "# Log\n## [1.2.0] - 2020-01-01\n### Fixed\n- a\n## [1.1]\n", "- a"),
        (
            "changes",
            "Release 1.2.0 (Jun 22, 2024)\n------\n\n- a\n\nRelease 1.1\n-----\n- b",
            "- a",
        ),
        ("CHANGES.md", "**1.2.0**\n\n- a\n\n**1.1**\n\n- b\n", "- a"),
        ("CHANGES.md", "## [v1.2.0](https://x/y) (2020)\n\n_(January 5, 2020)_\n\n- a\n", "- a"),
        ("CHANGES.txt", "tiny 1.2\n========\n- a\n\ntiny 1.1\n========\n- b\n", "- a"),
        ("docs/changelog/v1.2.0.md", "- a\n", "- a"),
        ("docs/releases/1.2.0.rst", "- a\n", "- a"),
    ],
)
def test_the_section_of_a_version_is_found(path: str, text: str, said: str) -> None:
    assert is_changelog(path)
    found = section([(path, text)], "1.2.0", "1.1")
    assert found.endswith(said)
    assert "- b" not in found


def test_versions_that_were_never_released_belong_to_the_next() -> None:
    text = "1.3\n---\n- c\n\n1.2\n---\n- b\n\n1.1\n---\n- a\n"
    assert section([("NEWS", text)], "1.3", "1.1") == "- c\n\n- b"
    assert section([("NEWS", text)], "1.3", None) == "- c"
    assert section([("NEWS", text)], "1.4", "1.3") == ""


def test_a_section_too_long_to_be_read_is_cut_at_a_line() -> None:
    found = section([("NEWS", "1.0\n---\n" + "- a line of it\n" * 2000)], "1.0", None)
    assert len(found) <= LARGEST + 2
    assert found.endswith(f"- a line of it\n{CUT}")


@pytest.mark.parametrize("path", ["tiny/changes.py", "src/history.py", "README.rst", "newsletter"])
def test_other_files_are_no_change_logs(path: str) -> None:
    assert not is_changelog(path)
