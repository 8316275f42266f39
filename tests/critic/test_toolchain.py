from __future__ import annotations

from pathlib import Path

import pytest

from flywheel.core.errors import ToolchainError
from flywheel.critic.toolchain import Toolchain, detect, load, matcher, sources
from flywheel.git import Checkout, Entry

PROFILE = Path(__file__).parents[2] / "critics" / "pytest"


class FakeCheckout:
    """A commit held in memory."""

    name = "fake"

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def entries(self) -> tuple[Entry, ...]:
        return tuple(Entry(path, "100644", "0" * 40) for path in self.files)

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)


def fake(**files: bytes) -> Checkout:
    return FakeCheckout(files)  # type: ignore[return-value]  # all that is asked of one


@pytest.fixture
def toolchain() -> Toolchain:
    return load([("pytest", PROFILE)])[0]


def _changed(tmp_path: Path, old: str, new: str) -> Path:
    text = (PROFILE / "toolchain.toml").read_text()
    assert old in text
    folder = tmp_path / "pytest"
    folder.mkdir(exist_ok=True)
    (folder / "toolchain.toml").write_text(text.replace(old, new))
    return folder


def test_the_identity_is_of_the_files_content(toolchain, tmp_path):
    assert toolchain.id.startswith("pytest@")
    changed = _changed(tmp_path, "rounds = 5", "rounds = 6")
    assert load([("pytest", changed)])[0].id != toolchain.id


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("rounds = 5", "round = 5", "limits.round: unknown; did you mean 'rounds'"),
        ('language = "python"', 'langauge = "python"', "did you mean 'language'"),
        ("rounds = 5", 'rounds = "many"', "limits.rounds"),
        ("rounds = 5", "rounds = [", "cannot be read"),
    ],
)
def test_a_malformed_profile_is_refused_with_its_reason(tmp_path, old, new, words):
    with pytest.raises(ToolchainError) as caught:
        load([("pytest", _changed(tmp_path, old, new))])
    assert words in f"{caught.value.message} {caught.value.cause}"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (r"""'^module\s+"?([^\s"]+)'""", "'('", "test.module: no regular expression"),
        (r"""'^module\s+"?([^\s"]+)'""", "'module'", "the pattern has no group"),
        ('unless = "', 'unles = "', "build.fetch.0.unles: unknown; did you mean 'unless'"),
    ],
)
def test_a_malformed_profile_of_a_command_is_refused_with_its_reason(tmp_path, old, new, words):
    packaged = (PROFILE.parent / "go" / "toolchain.toml").read_text()
    assert old in packaged
    folder = tmp_path / "go"
    folder.mkdir()
    (folder / "toolchain.toml").write_text(packaged.replace(old, new))
    with pytest.raises(ToolchainError) as caught:
        load([("go", folder)])
    assert words in str(caught.value.cause)
    assert "critics/go/" in str(caught.value.hint)


def test_a_profile_bears_the_name_of_its_file(tmp_path):
    with pytest.raises(ToolchainError, match="calls itself"):
        load([("other", _changed(tmp_path, "rounds = 5", "rounds = 5"))])


@pytest.mark.parametrize(
    "files",
    [
        {"conftest.py": b""},
        {"a/b/test_x.py": b""},
        {"pyproject.toml": b"[tool.pytest.ini_options]\n"},
    ],
)
def test_a_repository_with_tests_is_detected(toolchain, files):
    assert detect([toolchain], fake(**files)) is toolchain


def test_a_repository_that_fits_nothing_is_told_what_was_looked_for(toolchain):
    with pytest.raises(ToolchainError, match="no toolchain profile fits") as caught:
        detect([toolchain], fake(**{"main.c": b""}))
    assert "test_*.py" in caught.value.cause


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("*.py", "a.py", True),
        ("*.py", "a/b.py", False),
        ("**/*.py", "b.py", True),
        ("**/*.py", "a/b/c.py", True),
        ("docs/**", "docs/a/b.py", True),
        ("docs/**", "mydocs/a.py", False),
        ("**/tests/**", "tests/x.py", True),
        ("**/tests/**", "latests/x.py", False),
        ("test_?.py", "test_1.py", True),
        ("[ab].py", "b.py", True),
        ("a.py", "axpy", False),
    ],
)
def test_globs_match_whole_paths(glob, path, matches):
    assert bool(matcher((glob,)).match(path)) is matches


def test_no_glob_matches_nothing():
    assert matcher(()).match("") is None


def test_tests_settings_and_plugins_are_protected(toolchain):
    protected = "tests/a.py pkg/test/a.py test_a.py pkg/a_test.py conftest.py pkg/conftest.py"
    for path in (protected + " pyproject.toml sub/tox.ini x.pth setup.py").split():
        assert toolchain.is_protected(path), path
    for path in ("pkg/a.py", "src/pkg/contest.py", "latest.py", "testing.py"):
        assert toolchain.is_source(path), path


def test_sources_are_found_and_the_rest_counted(toolchain, tmp_path):
    files = {
        "pkg/__init__.py": b"",
        "pkg/good.py": b"X = 1\n",
        "pkg/bom.py": b"\xef\xbb\xbfX = 1\n",
        "pkg/latin.py": b"# -*- coding: latin-1 -*-\nX = '\xe9'\n",
        "pkg/broken.py": b"def (:\n",
        "pkg/warns.py": b"X = '\\d'\n",
        "pkg/nul.py": b"X = 1\0\n",
        "pkg/_vendor/x.py": b"X = 1\n",
        "tests/test_good.py": b"X = 1\n",
        "docs/conf.py": b"X = 1\n",
        ".hidden/x.py": b"X = 1\n",
        "pkg/__pycache__/x.py": b"X = 1\n",
        "setup.py": b"X = 1\n",
        "README": b"",
    }
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "pkg" / "link.py").symlink_to("good.py")
    (tmp_path / "all").symlink_to(tmp_path)
    found = sources(tmp_path, toolchain)
    assert found.paths == ("pkg/bom.py", "pkg/good.py", "pkg/warns.py")
    assert found.skipped == {
        "empty": 1, "excluded": 3, "not-utf8": 1, "protected": 2, "symlink": 1, "syntax-error": 2,
    }  # fmt: skip


def test_what_an_older_python_compiled_is_not_parsed_again(toolchain, tmp_path):
    (tmp_path / "__pycache__").mkdir()
    for name, pyc in (("old", "cpython-38"), ("new", "cpython-399"), ("none", "opt")):
        (tmp_path / f"{name}.py").write_text("not python (")
        (tmp_path / "__pycache__" / f"{name}.{pyc}.pyc").write_bytes(b"")
    found = sources(tmp_path, toolchain)
    assert found.paths == ("old.py",)
    assert found.skipped == {"syntax-error": 2}
