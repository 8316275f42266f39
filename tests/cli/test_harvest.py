"""What `harvest` and `history` tell while they run, and what they name next."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from flywheel.cli.harvest import _display
from flywheel.cli.session import Session
from flywheel.core.events import PhaseProgressed

Flywheel = Callable[..., Any]


def test_progress_is_shown_as_it_is_written_by_others() -> None:
    session = Session()
    screen = io.StringIO()
    session.__dict__["err"] = Console(file=screen, force_terminal=True, width=200)
    with _display(session) as display:
        display.event(PhaseProgressed("environment", 0, "install .[test] [/home]"))
    assert "install .[test] [/home]" in screen.getvalue()


def test_the_command_that_follows_a_look_at_the_history_can_be_pasted(
    flywheel: Flywheel, folder: Path
) -> None:
    repo = folder / "my code"
    repo.mkdir()
    (repo / "test_a.py").write_text("def test_a(): pass\n")
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    for words in (("init", "-q"), ("add", "-A"), (*who, "commit", "-q", "-m", "Start")):
        subprocess.run(["git", *words], cwd=repo, check=True)
    ran = flywheel("history", "--repo", "my code")
    assert ran.code == 0, ran.err
    assert "Next: flywheel harvest --repo 'my code'" in ran.err
