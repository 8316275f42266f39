"""Repositories that are not Python: each by the real tool of its language, and a toy one."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.functional.conftest import Shell
from tests.past import Past

PAGE = Path(__file__).parents[2] / "docs" / "design" / "toolchains.md"
TOY, TOY_OPERATORS = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
"""The whole toolchain that the page shows, file by file."""
TOY_PROGRAM = """package toy

func Limit(n int) int {
\tif n < 10 {
\t\treturn n
\t}
\treturn 10
}
"""
TOY_CHECK = """
test -f built.txt || exit 3
echo "TAP version 13"
head -n 1 limit.toy | grep -q '^package' || { echo "Bail out! limit.toy is no toy"; exit 1; }
echo "1..2"
if grep -qF 'n < 10' limit.toy; then echo "ok 1 - small"; else echo "not ok 1 - small"; fi
if grep -qF 'return 10' limit.toy; then echo "ok 2 - large"; else echo "not ok 2 - large"; fi
"""


def _make(root: Path, *commits: tuple[str, Mapping[str, str]]) -> Path:
    """A repository of these commits: a message, and files as they then are."""
    past = Past(root)
    for message, files in commits:
        for path, text in files.items():
            past.write(path, text)
        past.commit(message)
    return root


def add_toy(shell: Shell, toolchain: str = TOY) -> None:
    """Put the toy language into the workspace."""
    folder = shell.workspace / "critics" / "toy"
    folder.mkdir(parents=True)
    (folder / "toolchain.toml").write_text(toolchain)
    (folder / "operators.toml").write_text(TOY_OPERATORS)


def test_a_new_language_is_one_folder(shell: Shell, tmp_path: Path) -> None:
    add_toy(shell)
    repo = _make(tmp_path / "repo", ("A", {"limit.toy": TOY_PROGRAM, "check.sh": TOY_CHECK}))
    ran = shell.harvest(repo)
    assert ran.code == 0, ran.err
    assert ran.summary["sandbox_level"].startswith("S3")
    assert ran.summary["by_operator"] == {"comparison-boundary": {"judged": 1, "valid": 1}}
    (row,) = shell.sql("SELECT symbol, bad, failing_tests, language FROM examples")
    assert (row["symbol"], row["failing_tests"]) == ("Limit", ["small"])
    assert "n <= 10" in row["bad"]
    replayed = shell.run("replay", "--all", "--json")
    assert replayed.code == 0, replayed.out
    # What is judged is not judged again.
    assert shell.harvest(repo).summary["candidates"]["judged"] == 0


def test_a_missing_tool_is_named_with_what_brings_it(shell: Shell, tmp_path: Path) -> None:
    add_toy(shell, TOY.replace('programs = ["sh"]', 'programs = ["no-such-tool"]'))
    repo = _make(tmp_path / "repo", ("A", {"limit.toy": TOY_PROGRAM, "check.sh": TOY_CHECK}))
    ran = shell.harvest(repo)
    assert ran.code == 1
    assert "no-such-tool is not on this machine" in ran.err
    assert "any POSIX shell" in ran.err


def test_a_suite_that_fails_at_the_newest_commit_is_told_with_its_cause(
    shell: Shell, tmp_path: Path
) -> None:
    add_toy(shell)
    broken = {"limit.toy": TOY_PROGRAM, "check.sh": "echo something went wrong\nexit 2\n"}
    ran = shell.harvest(_make(tmp_path / "repo", ("A", broken)))
    assert ran.code == 1
    assert "ran no test" in ran.err
    assert "something went wrong" in ran.err


def test_a_command_of_ones_own_tests_files_of_several_languages(
    shell: Shell, tmp_path: Path
) -> None:
    check = """
echo '<testsuite name="t"><testcase classname="c" name="py">' > report.xml
head -n 1 lib.py | grep -q '^def' || exit 1
grep -q 'n < 3' lib.py || echo '<failure message="py"/>' >> report.xml
echo '</testcase><testcase classname="c" name="go">' >> report.xml
grep -q 'n < 4' lib.go || echo '<failure message="go"/>' >> report.xml
echo '</testcase></testsuite>' >> report.xml
"""
    files = {
        "lib.py": "def low(n):\n    return n < 3\n",
        "lib.go": "package lib\n\nfunc Low(n int) bool {\n\treturn n < 4\n}\n",
        "check.sh": check,
    }
    repo = _make(tmp_path / "repo", ("Files", files))
    own = ("--test-command", "sh check.sh", "--operators", "comparison-boundary")
    ran = shell.harvest(repo, *own, "--test-report", "junit:report.xml")
    assert ran.code == 0, ran.err
    rows = shell.sql("SELECT path, failing_tests FROM examples ORDER BY path")
    assert [(row["path"], row["failing_tests"]) for row in rows] == [
        ("lib.go", ["c::go"]),
        ("lib.py", ["c::py"]),
    ]
    wrong = shell.harvest(repo, *own, "--test-report", "junitt:report.xml")
    assert wrong.code == 2
    assert "did you mean junit?" in wrong.err


@dataclass(frozen=True)
class Project:
    """A tiny project with a bug, and its fix with a test."""

    tool: str
    fixed: str
    """File that the fix changes."""
    code: str
    """Its fixed content."""
    bug: tuple[str, str]
    """What the fix put in place of what."""
    files: Mapping[str, str]
    """The other files as they are before the fix."""
    test: tuple[str, str]
    """The file of the fix's test, and its content."""
    variables: Mapping[str, str] = field(default_factory=dict)


PROJECTS = {
    "go": Project(
        tool="go",
        fixed="words/words.go",
        code="""package words

// First gives the first letter of a word.
func First(word string) string {
\tif len(word) == 0 {
\t\treturn ""
\t}
\treturn word[:1]
}

func Larger(a, b int) int {
\tif a < b {
\t\treturn b
\t}
\treturn a
}
""",
        bug=('\tif len(word) == 0 {\n\t\treturn ""\n\t}\n', ""),
        files={
            "go.mod": "module example.org/tiny\n\ngo 1.18\n",
            "words/words_test.go": """package words

import "testing"

func TestLarger(t *testing.T) {
\tif Larger(1, 2) != 2 || Larger(4, 3) != 4 {
\t\tt.Fatalf("not the larger: %d", Larger(1, 2))
\t}
}
""",
        },
        test=(
            "words/first_test.go",
            """package words

import "testing"

func TestFirst(t *testing.T) {
\tfor _, word := range []string{"ab", ""} {
\t\tt.Run("of "+word, func(t *testing.T) {
\t\t\tif got := First(word); len(got) > 1 {
\t\t\t\tt.Errorf("got %q", got)
\t\t\t}
\t\t})
\t}
}
""",
        ),
    ),
    "cargo": Project(
        tool="cargo",
        fixed="src/lib.rs",
        code="""/// The first letter of a word.
pub fn first(word: &str) -> String {
    word.chars().take(1).collect()
}

pub fn larger(a: i32, b: i32) -> i32 {
    if a < b {
        b
    } else {
        a
    }
}
""",
        bug=("word.chars().take(1).collect()", "word[0..1].to_string()"),
        files={
            "Cargo.toml": '[package]\nname = "tiny"\nversion = "0.1.0"\nedition = "2021"\n',
            "tests/larger.rs": """use tiny::larger;
#[test]
fn the_larger() {
    assert_eq!(larger(1, 2), 2);
    assert_eq!(larger(4, 3), 4);
}
""",
        },
        test=(
            "tests/first.rs",
            """use tiny::first;
#[test]
fn of_a_word() {
    assert_eq!(first("ab"), "a");
}
#[test]
fn of_nothing() {
    assert_eq!(first(""), "");
}
""",
        ),
    ),
    "mix": Project(
        tool="mix",
        fixed="lib/tiny.ex",
        code="""defmodule Tiny do
  @doc "The first letter of a word."
  def first(""), do: ""
  def first(word), do: String.first(word)

  def larger(a, b) do
    if a < b, do: b, else: a
  end
end
""",
        bug=('  def first(""), do: ""\n', ""),
        files={
            "mix.exs": """defmodule Tiny.MixProject do
  use Mix.Project
  def project, do: [app: :tiny, version: "0.1.0", elixir: "~> 1.10"]
end
""",
            "test/test_helper.exs": "ExUnit.start()\n",
            "test/larger_test.exs": """defmodule LargerTest do
  use ExUnit.Case
  test "the larger" do
    assert Tiny.larger(1, 2) == 2
    assert Tiny.larger(4, 3) == 4
  end
end
""",
        },
        test=(
            "test/first_test.exs",
            """defmodule FirstTest do
  use ExUnit.Case
  test "of a word", do: assert Tiny.first("ab") == "a"
  test "of nothing", do: assert Tiny.first("") == ""
end
""",
        ),
    ),
    "node": Project(
        tool="node",
        fixed="lib/words.js",
        code="""'use strict';
// The first letter of a word.
function first(word) {
  return word ? word[0] : '';
}
function larger(a, b) {
  if (a < b) {
    return b;
  }
  return a;
}
module.exports = { first, larger };
""",
        bug=("word ? word[0] : ''", "word[0]"),
        files={
            "package.json": '{"name": "tiny", "version": "1.0.0",'
            ' "scripts": {"test": "node --test"}}\n',
            "test/larger.test.js": """const test = require('node:test');
const assert = require('node:assert');
const { larger } = require('../lib/words.js');
test('the larger', () => {
  assert.strictEqual(larger(1, 2), 2);
  assert.strictEqual(larger(4, 3), 4);
});
""",
        },
        test=(
            "test/first.test.js",
            """const test = require('node:test');
const assert = require('node:assert');
const { first } = require('../lib/words.js');
test('of a word', () => assert.strictEqual(first('ab'), 'a'));
test('of nothing', () => assert.strictEqual(first(''), ''));
""",
        ),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PROJECTS)
def test_a_project_of_another_language_gives_examples_of_every_source(
    shell: Shell, tmp_path: Path, name: str
) -> None:
    project = PROJECTS[name]
    if shutil.which(project.tool) is None:
        pytest.skip(f"{project.tool} is not on this machine")
    rustup = Path(os.environ.get("RUSTUP_HOME") or Path.home() / ".rustup")
    shell.variables |= {"RUSTUP_HOME": str(rustup)} if rustup.is_dir() else {}
    good, bad = project.bug
    assert good in project.code
    repo = _make(
        tmp_path / "repo",
        ("Start", {**project.files, project.fixed: project.code.replace(good, bad)}),
        ("Fix crash on an empty word", {project.fixed: project.code, **dict([project.test])}),
        ("Tell more", {"README.md": "More.\n"}),
    )
    ran = shell.harvest(
        repo,
        *("--source", "reverted,mutated,mined", "--operators", "comparison"),
        *("--max-candidates", "0"),
        timeout=400,
    )
    assert ran.code == 0, ran.err
    found = {source: counts.get("valid", 0) for source, counts in ran.summary["by_source"].items()}
    assert found["reverted"] == 1, ran.out
    assert found["mined"] == 1, ran.out
    assert found["mutated"] >= 1, ran.out
    rows = shell.sql("SELECT source, error, failing_tests, statement FROM examples")
    for row in rows:
        assert row["failing_tests"]
        assert str(tmp_path) not in row["error"]
        if row["source"] != "mutated":
            assert row["statement"] == "Fix crash on an empty word"
    replayed = shell.run("replay", "--all", "--json", timeout=400)
    assert replayed.code == 0, replayed.out
