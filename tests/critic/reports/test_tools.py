"""The tools of this machine are run as they are, twice and in two places, and say the same."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from flywheel.critic import reports
from flywheel.critic.reports import Report, read

FORMATTERS = Path(reports.__file__).parent


@dataclass(frozen=True)
class Tool:
    """How one tool is run so that its report can be read."""

    format_name: str
    argv: Sequence[str]
    files: Mapping[str, str]
    outcomes: Mapping[str, str]
    message: str
    """Message of the first failure."""
    report: str = ""
    """File that holds the report; empty for what the tool prints."""
    environ: Mapping[str, str] = field(default_factory=dict)
    module: str = ""
    broken: str = ""
    """Class of what kept tests from running."""


GO = Tool(
    "go-json",
    ["go", "test", "-json", "./..."],
    {
        "go.mod": "module example.com/zoo\n\ngo 1.19\n",
        "zoo_test.go": """package zoo

import (
	"os"
	"testing"
)

func TestAdds(t *testing.T) {
	where := t.TempDir()
	if _, err := os.ReadFile(where + "/missing"); err != nil {
		t.Fatalf("cannot read %p: %v", &where, err)
	}
}

func TestFine(t *testing.T) {
	for _, name := range []string{"a", "größe"} {
		t.Run(name, func(t *testing.T) { t.Parallel() })
	}
}

func TestPanics(t *testing.T) {
	var m map[string]int
	m["a"] = 1
}
""",
        "bad/bad_test.go": "package bad\n\nvar x int = undefined\n",
    },
    {
        ".::TestAdds": "failed",
        ".::TestFine/a": "passed",
        ".::TestFine/größe": "passed",
        ".::TestPanics": "failed",
    },
    "cannot read 0x...: open <tmp>/missing: no such file or directory",
    environ={"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOSUMDB": "off", "GOTOOLCHAIN": "local"},
    module="example.com/zoo",
    broken="CompileError",
)
CARGO = Tool(
    "cargo",
    ["cargo", "test", "--no-fail-fast", "--offline", "--", "--test-threads=1"],
    {
        "Cargo.toml": '[package]\nname = "zoo-park"\nversion = "0.1.0"\nedition = "2021"\n',
        "src/lib.rs": """pub fn add(a: i32, b: i32) -> i32 { a - b }

#[cfg(test)]
mod tests {
    #[test]
    fn adds() { assert_eq!(super::add(1, 2), 3); }

    #[test]
    fn größe() { let n = 3; println!("at {:p}", &n); panic!("at {:p}", &n); }

    #[test]
    fn prints() { println!("words"); }
}
""",
        "tests/dies.rs": "#[test]\nfn a() {}\n#[test]\nfn b() { std::process::abort(); }\n",
    },
    {
        "zoo_park::tests::adds": "failed",
        "zoo_park::tests::größe": "failed",
        "zoo_park::tests::prints": "passed",
        "dies::a": "passed",
        "dies::b": "failed",
    },
    "assertion",
    environ={"CARGO_NET_OFFLINE": "true", "CARGO_TERM_COLOR": "never", "RUST_BACKTRACE": "0"},
    broken="ProcessDied",
)
_NODE_FILES = {
    "zoo.test.js": """const { test, describe, it } = require('node:test');
const assert = require('node:assert');
test('adds', () => assert.strictEqual(1 - 2, 3));
describe('größe', () => { it('fits', () => {}); });
test('later', { skip: true }, () => {});
""",
    "broken.test.js": "require('./missing.js');\n",
}
_NODE_OUTCOMES = {"adds": "failed", "größe > fits": "passed", "later": "skipped"}
NODE_LINES = Tool(
    "lines",
    [
        "node",
        "--test",
        f"--test-reporter={FORMATTERS / 'node.mjs'}",
        "--test-reporter-destination=report",
    ],
    _NODE_FILES,
    {f"zoo.test.js::{name}": said for name, said in _NODE_OUTCOMES.items()}
    | {"broken.test.js": "error"},
    "broken.test.js: test failed (it ended with 1)",
    report="report",
    broken="FileError",
)
NODE_TAP = Tool(
    "tap",
    ["node", "--test", "--test-reporter=tap", "--test-reporter-destination=report"],
    _NODE_FILES,
    _NODE_OUTCOMES | {"broken.test.js": "error"},
    "test failed",
    report="report",
    broken="FileError",
)
NODE_JUNIT = replace(
    NODE_TAP,
    format_name="junit",
    argv=["node", "--test", "--test-reporter=junit", "--test-reporter-destination=report"],
)
MIX = Tool(
    "lines",
    [
        "elixir",
        "-r",
        str(FORMATTERS / "exunit.ex"),
        "-S",
        "mix",
        "test",
        "--seed",
        "0",
        "--max-cases",
        "1",
        "--formatter",
        "Flywheel.ExUnitFormatter",
    ],
    {
        "mix.exs": """defmodule Zoo.MixProject do
  use Mix.Project
  def project, do: [app: :zoo, version: "0.1.0", deps: []]
end
""",
        "lib/zoo.ex": "defmodule Zoo do\n  def add(a, b), do: a - b\nend\n",
        "test/test_helper.exs": "ExUnit.start()\n",
        "test/zoo_test.exs": """defmodule ZooTest do
  use ExUnit.Case

  test "adds" do
    assert {Zoo.add(1, 2), self()} == 3
  end

  describe "größe" do
    test "fits", do: assert(Zoo.add(0, 0) == 0)
    @tag :skip
    test "later", do: flunk()
  end
end
""",
    },
    {
        "test/zoo_test.exs::adds": "failed",
        "test/zoo_test.exs::größe / fits": "passed",
        "test/zoo_test.exs::größe / later": "skipped",
    },
    "Assertion with == failed",
    report="report",
    environ={"MIX_ENV": "test", "FLYWHEEL_REPORT": "report"},
)
MIX_BROKEN = replace(
    MIX,
    files={
        **MIX.files,
        "lib/zoo.ex": "defmodule Zoo do\n  def add(a, b), do: missing(a, b)\nend\n",
    },
    outcomes={},
    message="",
    report="",
    broken="CompileError",
)
PROVE = Tool(
    "tap",
    ["prove", "--verbose", "--merge", "t"],
    {
        "t/a.t": "use Test::More tests => 2;\nok(1, 'fits');\nis(1 - 2, 3, 'adds');\n",
        "t/b.t": "use Test::More tests => 2;\nok(1, 'first');\ndie 'no more';\n",
    },
    {"t/a.t::fits": "passed", "t/a.t::adds": "failed", "t/b.t::first": "passed"},
    "Failed test 'adds'",
    broken="ProcessDied",
)
UNITTEST = Tool(
    "unittest",
    [sys.executable, "-m", "unittest", "-v"],
    {
        "test_zoo.py": """import tempfile
import unittest


class TestZoo(unittest.TestCase):
    def test_adds(self):
        with tempfile.TemporaryDirectory() as where:
            self.assertEqual((1 - 2, where), 3)

    def test_größe(self):
        pass
""",
        "test_broken.py": "import missing\n",
    },
    {"test_zoo.TestZoo.test_adds": "failed", "test_zoo.TestZoo.test_größe": "passed"},
    "(-1, '<tmp>') != 3",
    broken="ModuleNotFoundError",
)
DOCTEST = Tool(
    "doctest",
    [sys.executable, "-m", "doctest", "-v", "zoo.py"],
    {
        "zoo.py": """def add(a, b):
    '''
    >>> add(1, 2)
    3
    '''
    return a - b


def zero():
    '''
    >>> zero()
    0
    '''
    return 0
"""
    },
    {"zoo.add": "failed", "zoo.zero": "passed"},
    "add(1, 2) gave another output",
)
PYTEST = Tool(
    "junit",
    [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--junitxml=report"],
    {"test_zoo.py": "def test_adds(tmp_path):\n    assert (1 - 2, tmp_path) == 3\n"},
    {"test_zoo::test_adds": "failed"},
    "",
    report="report",
)


def _run(tool: Tool, folder: Path) -> Report:
    for name, text in tool.files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    environ = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    # Node's runner does nothing inside another run of it, and says so by this name.
    environ.pop("NODE_TEST_CONTEXT", None)
    done = subprocess.run(
        tool.argv,
        cwd=folder,
        env={**environ, "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", **tool.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        check=False,
    )
    output = (folder / tool.report).read_bytes() if tool.report else done.stdout
    return read(tool.format_name, output, root=str(folder), module=tool.module)


@pytest.mark.parametrize(
    "tool",
    [
        pytest.param(tool, id=name)
        for name, tool in {
            "go": GO,
            "cargo": CARGO,
            "node-lines": NODE_LINES,
            "node-tap": NODE_TAP,
            "node-junit": NODE_JUNIT,
            "mix": MIX,
            "mix-broken": MIX_BROKEN,
            "prove": PROVE,
            "unittest": UNITTEST,
            "doctest": DOCTEST,
            "pytest-junit": PYTEST,
        }.items()
    ],
)
def test_a_tool_says_the_same_of_the_same_suite_in_two_places(tool: Tool, tmp_path: Path) -> None:
    if shutil.which(tool.argv[0]) is None:
        pytest.skip(f"{tool.argv[0]} is not installed")
    first = _run(tool, tmp_path / "one")
    second = _run(tool, tmp_path / "two")
    assert {result.test_id: result.outcome for result in first.results} == tool.outcomes
    assert first.complete
    assert (first.broken.type if first.broken else "") == tool.broken
    failures = [result.failure for result in first.results]
    if tool.outcomes:
        assert next(f for f in failures if f is not None).message.startswith(tool.message)
    assert failures == [result.failure for result in second.results]
    assert first.broken == second.broken
