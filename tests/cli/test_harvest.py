"""What `harvest` and `history` tell while they run, and what they name next."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flywheel.cli.display import display
from flywheel.cli.session import Session
from flywheel.core.events import PhaseProgressed
from tests.past import Past

Flywheel = Callable[..., Any]


def test_progress_is_shown_as_it_is_written_by_others() -> None:
    session = Session()
    screen = io.StringIO()
    session.__dict__["err"] = Console(file=screen, force_terminal=True, width=200)
    with display(session) as shown:
        shown.event(PhaseProgressed("environment", 0, "install .[test] [/home]"))
    assert "install .[test] [/home]" in screen.getvalue()


@pytest.fixture
def repo(folder: Path) -> Past:
    """A repository with a bug and its fix, in a folder whose name a shell would cut in two."""
    past = Past(folder / "my code")
    past.write("a.py", "def first(words):\n    return words[0]\n")
    past.write("test_a.py", "import a\n")
    past.commit("Start")
    past.edit("a.py", "[0]", "[:1]")
    return past


def test_the_command_that_follows_a_look_at_the_history_can_be_pasted(
    flywheel: Flywheel, repo: Past
) -> None:
    repo.commit("Fix crash")
    ran = flywheel("history", "--repo", repo.root.name)
    assert ran.code == 0, ran.err
    assert "Next: flywheel harvest --repo 'my code' --source reverted" in ran.err


def test_what_a_commit_says_cannot_command_the_terminal(flywheel: Flywheel, repo: Past) -> None:
    repo.commit("Fix crash \x1b[2J of [/b]")
    ran = flywheel("history", "--repo", repo.root.name)
    assert ran.code == 0, ran.err
    assert "Fix crash \\x1b[2J of [/b]" in ran.out
