"""`flywheel spin`: what is printed of rounds, and how it ends."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from flywheel.cli.display import Display
from flywheel.cli.session import Session
from flywheel.cli.spin import Told
from flywheel.core import events
from flywheel.core.settings import load
from flywheel.orchestrator.rounds import Rounds
from flywheel.orchestrator.spin import fingerprint
from flywheel.workspace import find
from tests.cli.conftest import Ran
from tests.orchestrator.test_rounds import BASE, BETTER, round_of

ARGUMENTS = ("spin", "--repo", "pypi:one", "--module", "repair", "--rounds", "2")


def test_rounds_are_a_table_with_their_verdicts_and_a_report(
    folder: Path, flywheel: Callable[..., Ran]
) -> None:
    workspace = find()
    spin_id = fingerprint(["pypi:one"], "repair", load(folder).settings)
    for one in (round_of(1, won=True, why="Better: +30.0 points."), round_of(2)):
        Rounds(workspace.spins / spin_id).keep(one)
    ran = flywheel(*ARGUMENTS)
    assert ran.code == 0, ran.err
    assert "0.500, n 40" in ran.out
    assert "0.400 to 0.600" in ran.out
    table = ran.out.partition("round 1:")[0].splitlines()
    # A title, a line of names, two lines a round; none is folded.
    assert (len(table), max(map(len, table)) <= 80, "…" in ran.out) == (6, True, False), ran.out
    assert f"round 1: Better: +30.0 points. {BETTER} is deployed." in ran.out
    assert f"round 2: Not shown to be better: +1.0 points. {BASE} stays." in ran.out
    assert "report.html" in ran.out
    told = flywheel(*ARGUMENTS, "--json").json
    assert (told["spin"], told["ended"], told["deployed"]) == (spin_id, "done", BASE)
    assert [one["gated"]["deployed"] for one in told["rounds"]] == [True, False]
    assert told["usd"] == 1.75
    # Fewer losses are borne: it says why it ends.
    assert (
        "no-improvement; the champion won" in flywheel(*ARGUMENTS[:-1], "9", "--patience", "1").out
    )


class Status(Display):
    """Keeps what its line is told."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.told: list[tuple[object, ...]] = []

    def status(self, *said: Any) -> None:
        self.told.append(said)


def test_what_each_stage_has_found_is_said_as_it_comes() -> None:
    session, written = Session(), io.StringIO()
    session.__dict__["err"] = Console(file=written, width=200, highlight=False)
    shown = Status(session, None, None)
    tell = Told(session, shown)
    tell(events.StageStarted("s", 1, "gated"))
    tell(events.PhaseStarted("evaluate", 80))
    tell(events.RowEvaluated("r", BASE, "e", 1.0, "passes"))
    tell(events.StageEnded("s", 1, "gated", 61.0, "Better: [+30.0] points. Deployed"))
    assert written.getvalue() == (
        "round 1: gate\n✓ round 1, gate: Better: [+30.0] points. Deployed 61 s\n"
    )
    assert shown.told == [("1 of 80 answers to held-out rows", 1, 80)]


def test_a_module_that_is_not_there_is_told_with_the_one_that_was_meant(
    folder: Path, flywheel: Callable[..., Ran]
) -> None:
    ran = flywheel("spin", "--repo", "pypi:one", "--module", "repiar")
    assert ran.code == 2
    assert "did you mean repair?" in ran.err


def test_a_repository_that_is_not_there_is_told_before_the_first_round(
    folder: Path, flywheel: Callable[..., Ran]
) -> None:
    ran = flywheel("spin", "--repo", "pypi:one", "--repo", "nowhere", "--module", "repair")
    assert ran.code == 2
    assert "nowhere does not exist" in ran.err
    assert "round 1" not in ran.err
