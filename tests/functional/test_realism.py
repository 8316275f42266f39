"""Mutants are drawn as the repository's own fixes suggest, and it is told how near they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.functional.conftest import Shell
from tests.past import git

FUNCTION = """
def f{n}(a, b):
    if a < b and a != {n}:
        return [a + b, a * {n}, max(a, b)]
    total = a - b
    return [total + {n}, b]
"""
FUNCTIONS = 12
DRAWN = ("--max-candidates", "30")


def _fixed(repository: Callable[..., Path], broken: str, mended: str) -> Path:
    """A repository in which function after function was mended in one place."""
    text = "".join(FUNCTION.format(n=n) for n in range(FUNCTIONS))
    tests = "import pkg.many as m\n\n\n" + "".join(
        f"def test_{n}():\n    assert m.f{n}(1, 2) == [3, {n}, 2] or {n} == 1\n"
        f"    assert m.f{n}(5, 2) == [3 + {n}, 2]\n\n\n"
        for n in range(FUNCTIONS)
    )
    files = {
        "pkg/__init__.py": "",
        "pkg/many.py": text.replace(mended, broken),
        "tests/test_many.py": tests,
    }
    root = repository(package=files)
    place = root / "pkg/many.py"
    for number in range(FUNCTIONS):
        place.write_text(place.read_text().replace(broken, mended, 1))
        git(root, "commit", "--quiet", "-a", "-m", f"Fix function {number}")
    return root


def _shares(families: dict[str, dict[str, float]], drawn: int) -> dict[str, float]:
    return {family: one["drawn"] / drawn for family, one in families.items()}


def test_draws_shift_to_the_mistakes_that_were_made_here(
    shell: Shell, repository: Callable[..., Path], tmp_path: Path
) -> None:
    root = _fixed(repository, "a > b and", "a < b and")
    ran = shell.harvest(root, *DRAWN)
    assert ran.code == 0, ran.err
    told = ran.summary["realism"]
    assert told["reason"] == ""
    assert (told["fixes"], told["classified"]) == (FUNCTIONS, FUNCTIONS)
    assert told["families"]["comparison"]["fixes"] == FUNCTIONS
    assert told["distance"] < told["distance_uniform"]
    assert told["drawn"] == 30

    plain = Shell(tmp_path, shell.cache)
    without = plain.harvest(root, *DRAWN, "--no-calibrate").summary
    assert without["realism"]["reason"] == "turned off"
    assert without["realism"]["distance"] is None
    compared = [name for name in without["by_operator"] if name.startswith(("compar", "equality"))]
    uncalibrated = sum(without["by_operator"][name].get("judged", 0) for name in compared)
    assert told["families"]["comparison"]["drawn"] > uncalibrated

    again = shell.harvest(root, *DRAWN)
    assert again.summary["realism"]["families"] == told["families"]
    assert again.summary["candidates"]["judged"] == 0
    human = shell.run("harvest", "--repo", str(root), *DRAWN)
    assert f"{FUNCTIONS} of {FUNCTIONS} fixes classified" in human.out


def test_without_a_history_nothing_is_calibrated_and_it_is_said(
    shell: Shell, repository: Callable[..., Path], tmp_path: Path
) -> None:
    root = repository()
    told = shell.harvest(root, "--max-candidates", "2").summary["realism"]
    assert told["reason"] == "there is no history"
    assert (told["distance"], told["distance_uniform"], told["families"]) == (None, None, {})
    (root / "README").write_text("More.\n")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "Add a readme")
    told = shell.harvest(root, "--max-candidates", "2").summary["realism"]
    assert told["reason"] == "none of 2 commits reads like a fix of Python"
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{root}", str(clone))
    told = shell.harvest(clone, "--max-candidates", "2").summary["realism"]
    assert "shallow" in told["reason"]
    human = shell.run("harvest", "--repo", str(clone), "--max-candidates", "2")
    assert "not calibrated: the clone is shallow" in human.out
