from __future__ import annotations

from pathlib import Path

import pytest

from flywheel.core.errors import EnvironmentBuildError
from flywheel.critic.interpreters import Interpreter, ask, choose, named_interpreter
from flywheel.critic.ladder import hinted, read_project, rungs
from flywheel.critic.toolchain import load

PROFILE = Path(__file__).parents[2] / "critics" / "pytest"
INSTALL = load([("pytest", PROFILE)])[0].pytest.install


def _ladder(files: dict[str, str]) -> list[tuple[str, ...]]:
    data = {name: text.encode() for name, text in files.items()}
    return [rung.arguments for rung in rungs(data.get, data, INSTALL)]


@pytest.mark.parametrize(
    ("files", "first"),
    [
        ({"pyproject.toml": '[project]\nname="a"\n[project.optional-dependencies]\ntest=[]\nx=[]'},
         ("-e", ".[test]")),
        ({"pyproject.toml": '[project]\nname="a"\n[dependency-groups]\nTests=["x"]\ndocs=[]'},
         ("-e", ".", "--group", "Tests")),
        ({"pyproject.toml": '[project]\nname="a"\n[dependency-groups]\ndev=["x"]'},
         ("-e", ".", "--group", "dev")),
        ({"setup.py": "setup(extras_require={'testing': ['x']})"}, ("-e", ".[testing]")),
        ({"setup.py": "setup()", "PKG-INFO": "Name: a\nProvides-Extra: tests\n\n"},
         ("-e", ".[tests]")),
        ({"setup.py": "setup()", "requirements-dev.txt": "", "requirements/test.txt": ""},
         ("-e", ".", "-r", "requirements/test.txt")),
        ({"pyproject.toml": '[tool.poetry]\nname="a"\n[tool.poetry.group.dev.dependencies]\n'
          'x="^1.2"\ny="~0.3"\nz={version="*",extras=["e"]}\nlocal={path="../b"}\nw="1.0"'},
         ("-e", ".", "x>=1.2,<2", "y>=0.3,<0.4", "z[e]", "w==1.0")),
        ({"setup.py": "setup()"}, ("-e", ".")),
        ({"a.py": "", "requirements.txt": "x"}, ("-r", "requirements.txt")),
        ({"pyproject.toml": "not [toml", "setup.py": "setup()"}, ("-e", ".")),
    ],
)  # fmt: skip
def test_the_most_telling_rung_comes_first(files, first):
    assert _ladder(files)[0] == first


def test_the_ladder_ends_with_the_requirements_alone():
    ladder = _ladder({"setup.py": "setup()", "requirements.txt": "x"})
    assert ladder == [("-e", "."), ("-r", "requirements.txt")]


def test_a_distribution_is_asked_for_as_the_repository_writes_it():
    project = read_project({"tox.ini": b"[testenv]\ndeps =\n  pytest-mock >= 3, <4\n"}.get)
    assert hinted("pytest-mock", project) == "pytest-mock<4,>=3"
    assert hinted("hypothesis", project) == "hypothesis"


def _have(*versions: tuple[int, int]) -> list[Interpreter]:
    return [Interpreter(Path(f"/py{a}.{b}"), (a, b, 9), ()) for a, b in versions]


@pytest.mark.parametrize(
    ("requires", "classified", "order"),
    [
        (None, [], ["3.13", "3.12", "3.14", "3.11", "3.9", "3.8"]),
        (">=3.9,<3.13", [], ["3.12", "3.11", "3.9"]),
        (None, ["3.8", "3.12"], ["3.12", "3.13", "3.14", "3.11", "3.9", "3.8"]),
        (None, ["3.9"], ["3.9", "3.12", "3.13", "3.14", "3.11", "3.8"]),
        ("nonsense", ["3.11"], ["3.11", "3.12", "3.13", "3.14", "3.9", "3.8"]),
        (">=4", [], []),
    ],
)
def test_interpreters_are_tried_in_the_order_of_promise(requires, classified, order):
    there = _have((3, 14), (3, 13), (3, 12), (3, 11), (3, 9), (3, 8))
    found = choose(there, requires=requires, classified=frozenset(classified))
    assert [f"{one.version[0]}.{one.version[1]}" for one in found] == order


def test_only_what_runs_is_an_interpreter(tmp_path):
    fake = tmp_path / "python3.12"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    assert ask(fake) is None
    assert ask(tmp_path / "missing") is None
    with pytest.raises(EnvironmentBuildError, match="no working CPython 3") as caught:
        named_interpreter(str(fake))
    assert "found on this machine" in caught.value.cause
