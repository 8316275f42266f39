"""Programs are found by name, by file and class, or by module and class."""

from pathlib import Path

import pytest

from flywheel.core.errors import UsageError
from flywheel.programs.program import find_program

MINE = '''
import dspy

class Mend(dspy.Module):
    """Mine."""

    def __init__(self):
        super().__init__()
        self.step = dspy.Predict("bad, error -> good")

    def forward(self, bad, error, temperature=0.5):
        return self.step(bad=bad, error=error)

class Odd(dspy.Module):
    def forward(self, code, tests):
        return None

class Closed(dspy.Module):
    def __init__(self, path):
        super().__init__()

    def forward(self, bad):
        return None

def no_class():
    pass
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


def test_a_program_of_a_file_says_what_it_takes(folder: Path) -> None:
    program = find_program("mine.py:Mend", folder)
    assert (program.name, program.description) == ("Mend", "Mine.")
    assert program.inputs == ("bad", "error", "temperature")
    assert program.fields == ("bad", "error")
    program.check()
    assert [name for name, _ in program.make().named_predictors()] == ["step"]


def test_comments_change_no_identity_and_code_does(folder: Path) -> None:
    first = find_program("mine.py:Mend", folder).hash
    (folder / "mine.py").write_text("# a comment\n" + MINE)
    assert find_program("mine.py:Mend", folder).hash == first
    (folder / "mine.py").write_text(MINE.replace("bad, error ->", "error, bad ->"))
    assert find_program("mine.py:Mend", folder).hash != first


def test_what_it_imports_of_its_own_is_a_part_of_its_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "mended"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "program.py").write_text(f"from .deep import near\n{MINE}")
    (package / "deep" / "__init__.py").write_text("from .near import one\n")
    (package / "deep" / "near.py").write_text("import mended.far\none = 1\n")
    (package / "far.py").write_text("two = 2\n")
    (package / "other.py").write_text("three = 3\n")
    (tmp_path / "beside.py").write_text("four = 4\n")
    (tmp_path / "mine.py").write_text(f"import beside\n{MINE}")
    monkeypatch.syspath_prepend(str(tmp_path))

    def hashes() -> tuple[str, str]:
        found = [find_program(one, tmp_path) for one in ("mended.program:Mend", "mine.py:Mend")]
        return found[0].hash, found[1].hash

    inside, beside = hashes()
    (package / "other.py").write_text("three = 4\n")
    assert hashes() == (inside, beside)
    (package / "far.py").write_text("two = 3\n")
    assert hashes()[0] != inside
    assert hashes()[1] == beside
    (tmp_path / "beside.py").write_text("four = 5\n")
    assert hashes()[1] != beside


def test_the_packages_that_it_is_in_are_a_part_of_its_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "wrapped" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "wrapped" / "__init__.py").write_text("")
    (tmp_path / "wrapped" / "near.py").write_text("")
    (inner / "__init__.py").write_text(f"from wrapped import near\n{MINE}")
    (inner / "torn.py").write_text("this is no Python\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    places = [tmp_path / "wrapped" / name for name in ("__init__.py", "near.py")]
    found = [find_program("wrapped.inner:Mend", tmp_path).hash]
    for place in places:
        place.write_text("one = 1\n")
        found.append(find_program("wrapped.inner:Mend", tmp_path).hash)
    assert len(set(found)) == 3
    # What is never run need not parse, and counts all the same.
    (inner / "__init__.py").write_text(f"def later():\n    from . import torn\n{MINE}")
    torn = find_program("wrapped.inner:Mend", tmp_path).hash
    (inner / "torn.py").write_text("this is no Python either\n")
    assert find_program("wrapped.inner:Mend", tmp_path).hash != torn


def test_a_file_imports_what_lies_beside_it(folder: Path) -> None:
    (folder / "beside_mine.py").write_text("one = 1\n")
    (folder / "mine.py").write_text(f"import beside_mine\n{MINE}")
    assert find_program("mine.py:Mend", folder).name == "Mend"


def test_a_program_of_a_package_is_found() -> None:
    program = find_program("flywheel.programs.modules.repair:Repair", Path())
    assert program.name == "Repair"


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("repare", "did you mean repair?"),
        ("nothing-like-it", "there is no program 'nothing-like-it'"),
        ("other.py:Mend", "is no file"),
        ("mine.py:Mnd", "did you mean Mend?"),
        ("mine.py", "did you mean mine.py:Mend?"),
        ("other.py", "is no file"),
        ("mine.py:no_class", "is no program"),
        ("no.such.package:Mend", "there is no module no.such.package"),
        ("broken.py:Mend", "line 2: ZeroDivisionError"),
        ("leaves.py:Mend", "SystemExit"),
        ("named.py:repair", "cannot be called repair"),
        ("named.py:Bare", "has no forward"),
        ("named.py:Made", "cannot be found"),
        ("syntax.py:Mend", "line 1: SyntaxError"),
    ],
)
def test_what_is_no_program_is_told(folder: Path, spec: str, told: str) -> None:
    (folder / "broken.py").write_text("import dspy\n1 / 0\n")
    (folder / "leaves.py").write_text("raise SystemExit(0)\n")
    (folder / "named.py").write_text(
        f"{MINE}\nclass repair(Mend): pass\nclass Bare(dspy.Module): pass\n"
        "Made = type('Made', (Mend,), {'__module__': 'nowhere'})\n"
    )
    (folder / "syntax.py").write_text("class\n")
    with pytest.raises(UsageError) as error:
        find_program(spec, folder)
    assert told in f"{error.value.message} {error.value.cause} {error.value.hint}"


def test_fields_that_no_row_has_are_named(folder: Path) -> None:
    with pytest.raises(UsageError, match="takes code, tests, which no row"):
        find_program("mine.py:Odd", folder).check()


def test_a_class_that_wants_arguments_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="cannot be made"):
        find_program("mine.py:Closed", folder).make()
