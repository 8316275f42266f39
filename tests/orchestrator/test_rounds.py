"""Rounds: kept as files, summed up, and shown on a page that nothing of others can change."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from flywheel.core.errors import LMError, RegistryError, UsageError
from flywheel.core.events import EventBus
from flywheel.core.settings import HarvestSettings, Settings, SpinSettings
from flywheel.orchestrator.rounds import (
    Attempted,
    Composed,
    Gated,
    Harvested,
    Round,
    Rounds,
    Spread,
    Spun,
    Studied,
)
from flywheel.orchestrator.spin import fingerprint, spin
from flywheel.orchestrator.spin_report import report, verdict_of
from flywheel.registry import Registry
from flywheel.store import Store, record_calls
from flywheel.workspace import Workspace
from tests.lm.test_journal import CALL

BASE, BETTER = "repair@base", "repair@0123456789abcdef"


def spread(value: float | None, n: int = 40) -> Spread:
    low, high = (None, None) if value is None else (value - 0.1, value + 0.1)
    return Spread(value=value, n=n, low=low, high=high)


def round_of(
    number: int,
    *,
    won: bool = False,
    compared: bool = True,
    new: int = 5,
    exhausted: bool = False,
    usd: float | None = 0.25,
    why: str = "Not shown to be better: +1.0 points.",
) -> Round:
    gated = Gated(
        champion_score=spread(0.2), challenger_score=spread(0.5), difference=0.3, low=0.1, high=0.5,
        p_value=0.01, rows=40, compared=compared, deployed=won, why=why, usd=usd, seconds=2.0,
    )  # fmt: skip
    return Round(
        number=number,
        champion=BASE,
        harvested=Harvested(
            judged=9, new=new, drawn=spread(0.5, 9), exhausted=exhausted, seconds=1.0
        ),
        composed=Composed(
            dataset="d@1", examples=100, train=80, holdout=10, problem="", seconds=1.0
        ),
        studied=Studied(study="s", challenger=BETTER, trials=3, tokens=7, usd=0.5, seconds=1.0),
        gated=gated,
        attempted=Attempted(by=BASE, asked=4, mended=1, bugs=0, fixes=0, seconds=1.0),
        stopped_usd=0.125,
    )


def test_a_round_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    rounds = Rounds(tmp_path / "spin")
    assert list(rounds) == []
    every = [round_of(1, won=True), round_of(2).model_copy(update={"attempted": None})]
    for one in every:
        rounds.keep(one)
    assert list(rounds) == every
    assert [one.finished for one in rounds] == [True, False]
    assert [one.deployed for one in rounds] == [BETTER, BASE]
    assert [one.lost for one in rounds] == [False, True]


def test_each_stage_says_what_it_found() -> None:
    won, lost = round_of(1, won=True, exhausted=True), round_of(2)
    assert [one.sentence for one in won.stages] == [
        "5 new examples of 9 candidates judged; there is nothing more to be drawn",
        "d@1: 80 rows to learn from, 10 held out",
        f"{BETTER}, of 3 states that were scored",
        "Not shown to be better: +1.0 points. Deployed",
        "1 of 4 training examples mended; 0 of its failures and 0 of its fixes are new data",
    ]
    assert lost.gated is not None
    assert lost.gated.sentence.endswith("points. The champion stays")


def test_costs_are_summed_with_what_was_stopped_and_an_unknown_one_stays_unknown() -> None:
    known, unknown = round_of(1), round_of(2, usd=None)
    assert (known.usd, known.spent, known.tokens, known.seconds) == (0.875, 0.875, 7, 6.0)
    assert (unknown.usd, unknown.spent) == (None, 0.625)
    assert Spun("s", "repair", "m", (), Path(), [known, unknown]).usd is None


def test_a_file_that_is_damaged_is_named(tmp_path: Path) -> None:
    rounds = Rounds(tmp_path)
    rounds.keep(round_of(1))
    (tmp_path / "round-1.json").write_text('{"number": 1')
    with pytest.raises(UsageError, match=r"round-1\.json cannot be read"):
        list(rounds)
    rounds.keep(round_of(1))
    (tmp_path / "round-2.json").write_text((tmp_path / "round-1.json").read_text())
    with pytest.raises(UsageError, match=r"round-2\.json cannot be read") as caught:
        list(rounds)
    assert "it is of round 1" in str(caught.value.cause)
    rounds.keep(round_of(2).model_copy(update={"composed": None}))
    with pytest.raises(UsageError) as caught:
        list(rounds)
    assert "one before it is not" in str(caught.value.cause)
    # A round that begins anew is followed by none.
    rounds.begin(round_of(1))
    assert [one.number for one in rounds] == [1]


def ended(tmp_path: Path, *rounds: Round, **changes: int) -> str:
    """How a spin ends whose rounds are these: it does nothing more."""
    workspace = Workspace(tmp_path, "--workspace")
    settings = Settings(spin=SpinSettings(**changes))
    folder = workspace.spins / fingerprint(["pypi:repo"], "repair", settings)
    for one in rounds:
        Rounds(folder).keep(one)
    store = Store(workspace.store_path)
    done = spin(["pypi:repo"], "repair", settings, workspace, store, EventBus())
    assert done.rounds == list(rounds)
    return done.ended


def test_a_spin_ends_when_its_rounds_are_done_or_do_not_help(tmp_path: Path) -> None:
    won, lost = round_of(1, won=True), round_of(2)
    undecided = round_of(2, compared=False)
    assert ended(tmp_path / "a", won, lost, rounds=2) == "done"
    assert ended(tmp_path / "b", won, lost, round_of(3), rounds=9) == "no-improvement"
    assert ended(tmp_path / "c", round_of(1), rounds=9, patience=1) == "no-improvement"
    dry = round_of(3, new=0, exhausted=True, compared=False)
    assert ended(tmp_path / "d", won, undecided, dry, rounds=9) == "nothing-new"
    # Fewer rounds than there are, the last of them not finished.
    under_way = round_of(2).model_copy(update={"gated": None, "attempted": None})
    assert ended(tmp_path / "e", won, under_way, rounds=1) == "done"


def test_what_a_stage_that_was_stopped_had_stored_is_something_new() -> None:
    dry = round_of(1, new=0, exhausted=True)
    assert dry.fruitless
    assert not dry.model_copy(update={"stored": -3}).fruitless


def test_what_a_study_had_spent_when_it_was_stopped_is_not_there_to_be_spent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[tuple[float | None, int | None]] = []

    def optimize(module: str, settings: Settings, *rest: object) -> SimpleNamespace:
        limits.append((settings.optimize.max_usd, settings.optimize.max_tokens))
        studied = SimpleNamespace(ended="budget")
        return SimpleNamespace(studied=studied, study_id="s2", usd=0.25, tokens={"student": 90})

    monkeypatch.setattr("flywheel.orchestrator.optimize.optimize", optimize)
    workspace = Workspace(tmp_path, "--workspace")
    settings = Settings(spin=SpinSettings(max_usd=1.0, max_tokens=1000))
    rounds = Rounds(workspace.spins / fingerprint(["pypi:repo"], "repair", settings))
    done = {"studied": None, "gated": None, "attempted": None, "stopped_usd": 0.0}
    rounds.keep(round_of(1).model_copy(update=done))
    for _ in range(2):
        spun = spin(
            ["pypi:repo"], "repair", settings, workspace, Store(workspace.store_path), EventBus()
        )
        assert (spun.ended, spun.usd) == ("budget", 0.25)
        assert spun.rounds[-1].tokens == 90
    assert limits == [(1.0, 1000), (0.75, 910)]
    # The study that is done says what all its runs have cost.
    spent = round_of(2).model_copy(update={"study_usd": 0.25, "study_tokens": 90})
    assert (spent.spent, spent.tokens) == (round_of(2).spent, round_of(2).tokens)


def test_a_study_that_a_round_meets_again_costs_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def optimize(*arguments: object) -> SimpleNamespace:
        studied = SimpleNamespace(ended="done", trials=[1])
        return SimpleNamespace(
            studied=studied, study_id="s1", usd=0.4, tokens={"student": 90}, version=None
        )

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flywheel.orchestrator.optimize.optimize", optimize)
    monkeypatch.setattr("flywheel.orchestrator.stages.Stages.gate", stop)
    workspace = Workspace(tmp_path, "--workspace")
    rounds = Rounds(workspace.spins / fingerprint(["pypi:repo"], "repair", Settings()))
    first, second = round_of(1), round_of(2)
    assert first.studied is not None
    known = first.studied.model_copy(update={"study": "s1", "usd": 0.3, "tokens": 50})
    rounds.keep(first.model_copy(update={"studied": known}))
    rounds.keep(second.model_copy(update={"studied": None, "gated": None, "attempted": None}))
    store = Store(workspace.store_path)
    done = spin(["pypi:repo"], "repair", Settings(), workspace, store, EventBus())
    assert done.ended == "interrupted"
    found = done.rounds[-1].studied
    assert found is not None
    assert found.usd == pytest.approx(0.1)
    assert found.tokens == 40


def test_what_a_stage_took_that_went_wrong_is_counted_by_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path, "--workspace")
    store = Store(workspace.store_path)

    def harvest(*arguments: object) -> dict[str, object]:
        record_calls(store, [replace(CALL, usd=0.3, input_tokens=60, output_tokens=10)])
        raise LMError("no answer")

    monkeypatch.setattr("flywheel.orchestrator.stages.harvest", harvest)
    with pytest.raises(LMError, match="no answer"):
        spin(["https://me:pw@x.org/a"], "repair", Settings(), workspace, store, EventBus())
    rounds = Rounds(workspace.spins / fingerprint(["https://x.org/a"], "repair", Settings()))
    (one,) = rounds
    assert (one.spent, one.tokens) == (0.3, 70)
    # What is shown and kept has no password in it.
    page = rounds.report.read_text()
    assert "https://x.org/a" in page
    assert "pw" not in page


def test_repositories_of_one_harvest_share_what_may_be_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[tuple[float | None, int | None, int | None]] = []

    def harvest(repo: str, settings: Settings, *rest: object) -> dict[str, object]:
        now = settings.harvest
        limits.append((now.max_usd, now.max_tokens, now.max_examples))
        return {
            "candidates": {"judged": 1, "valid": 1}, "examples": {"new": 1},
            "written": {"usd": 0.25, "tokens": 9},
            "ended": "budget" if repo == "pypi:b" else "exhausted",
        }  # fmt: skip

    monkeypatch.setattr("flywheel.orchestrator.stages.harvest", harvest)
    workspace = Workspace(tmp_path, "--workspace")
    settings = Settings(
        spin=SpinSettings(max_usd=1.0, max_tokens=100), harvest=HarvestSettings(max_examples=7)
    )
    store = Store(workspace.store_path)
    done = spin(["pypi:a", "pypi:b", "pypi:c"], "repair", settings, workspace, store, EventBus())
    assert (done.ended, done.usd) == ("budget", 0.5)
    assert limits == [(1.0, 100, 7), (0.75, 91, 7)]
    spin(["pypi:a", "pypi:b", "pypi:c"], "repair", settings, workspace, store, EventBus())
    assert limits[2:] == [(0.5, 82, 7), (0.25, 73, 7)]


@pytest.mark.parametrize(("ended", "exhausted"), [("exhausted", True), ("time-limit", False)])
def test_a_harvest_that_its_own_limit_ended_has_left_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: str, exhausted: bool
) -> None:
    counts = {"judged": 1, "valid": 1}

    def harvest(*arguments: object) -> dict[str, object]:
        return {"candidates": counts, "examples": {"new": 1}, "written": None, "ended": ended}

    def compose(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flywheel.orchestrator.stages.harvest", harvest)
    monkeypatch.setattr("flywheel.orchestrator.stages.recipe_of", compose)
    workspace = Workspace(tmp_path, "--workspace")
    store = Store(workspace.store_path)
    (one,) = spin(["pypi:a"], "repair", Settings(), workspace, store, EventBus()).rounds
    assert one.harvested is not None
    assert one.harvested.exhausted is exhausted


def test_limits_make_no_other_spin_and_everything_else_does() -> None:
    def of(repos: list[str], module: str = "repair", **changes: object) -> str:
        return fingerprint(repos, module, Settings(spin=SpinSettings.model_validate(changes)))

    first = of(["pypi:one", "pypi:two"])
    assert of(["pypi:two", "pypi:one"], rounds=9, max_usd=1, time_limit="1h", patience=5) == first
    others = [of(["pypi:one"]), of(["pypi:one", "pypi:two"], seed=1),
              of(["pypi:one", "pypi:two"], "rewrite"),
              of(["pypi:one", "pypi:two"], recipe="other")]  # fmt: skip
    assert len({first, *others}) == 5


def test_another_that_changes_the_module_keeps_a_spin_out(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "--workspace")
    store = Store(workspace.store_path)
    with (
        Registry(workspace, store).changing("repair", "a deployment"),
        pytest.raises(RegistryError) as told,
    ):
        spin(["pypi:repo"], "repair", Settings(), workspace, store, EventBus())
    assert "a deployment" in (told.value.cause or "")


def test_a_page_shows_every_round_and_what_others_wrote_is_no_markup(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>\u202e"
    rounds = [round_of(1, won=True, why="Better: +30.0 points."), round_of(2, why=bad)]
    page = report(Spun("spin1", "repair", "tests_pass", ("pypi:<b>",), tmp_path, rounds))
    assert "<script" not in page
    assert "<b>" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;" in page
    assert "<td>+30.0<br>+10.0 to +50.0</td>" in page
    assert "<td>0.500, n 40<br>0.400 to 0.600</td>" in page
    for picture in page.split("<svg")[1:]:
        ElementTree.fromstring("<svg" + picture.partition("</svg>")[0] + "</svg>")
    assert page.count("<circle") == 4
    # No address but the name of SVG's own namespace.
    assert page.replace("http://www.w3.org/2000/svg", "").count("://") == 0


def test_the_verdict_names_who_stays_or_who_came() -> None:
    assert (
        verdict_of(round_of(1, won=True, why="Better: so.")) == f"Better: so. {BETTER} is deployed."
    )
    assert verdict_of(round_of(1, why="too few rows")) == f"Too few rows. {BASE} stays."
    begun = Round(number=1, champion=BASE)
    assert verdict_of(begun) == "Not finished."
