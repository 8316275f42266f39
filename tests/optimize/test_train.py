"""A tiny model is trained: it learns, goes on where it stopped, and says what goes wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from flywheel.core.errors import Interrupted
from flywheel.optimize.finetune import Progress, Trained, TrainOptions, find_adapter, train
from tests.optimize.conftest import NEEDS_TRAIN, QUICK, traces

pytestmark = NEEDS_TRAIN


class Stops:
    """Presses Ctrl-C after a step."""

    def __init__(self, after: int) -> None:
        self._after = after

    def __call__(self, progress: Progress) -> None:
        if progress.step == self._after:
            raise KeyboardInterrupt


def trained(
    base: Path, place: Path, options: TrainOptions = QUICK, on_progress: object = None
) -> Trained:
    return train(
        traces(0, 20),
        traces(20, 6),
        base,
        options,
        place / "work",
        adapters=place / "adapters",
        on_progress=on_progress,  # type: ignore[arg-type]  # or nobody
    )


def curve(of: Trained) -> list[dict[str, float]]:
    return [json.loads(line) for line in of.losses.read_text().splitlines()]


def test_a_model_learns_what_it_is_shown(tiny: Path, tmp_path: Path) -> None:
    heard: list[Progress] = []
    done = trained(tiny, tmp_path, replace(QUICK, epochs=6), heard.append)
    losses = [line["loss"] for line in curve(done)]
    assert [one.step for one in heard] == list(range(1, 31))
    assert losses == [one.loss for one in heard]
    assert losses[-1] < 0.7 * losses[0]
    assert done.manifest.validation_loss == min(
        one.validation_loss for one in heard if one.validation_loss is not None
    )
    assert (done.manifest.end, done.manifest.steps, done.manifest.train_rows) == ("epochs", 30, 20)
    assert find_adapter(tmp_path / "adapters", done.hash) == done


def test_the_same_training_gives_the_same_file(tiny: Path, tmp_path: Path) -> None:
    one, other = trained(tiny, tmp_path / "a"), trained(tiny, tmp_path / "b")
    assert one.gguf.read_bytes() == other.gguf.read_bytes()
    assert trained(tiny, tmp_path / "c", replace(QUICK, seed=2)).hash != one.hash


@pytest.mark.parametrize("step", [1, 3, 8])
def test_a_training_that_was_stopped_ends_with_the_weights_of_one_that_was_not(
    tiny: Path, tmp_path: Path, step: int
) -> None:
    whole = trained(tiny, tmp_path / "whole")
    with pytest.raises(Interrupted, match=f"stopped after step {step} of 10") as stopped:
        trained(tiny, tmp_path / "cut", on_progress=Stops(step))
    assert f"checkpoint after step {step - step % 3} is kept" in str(stopped.value.cause)
    again = trained(tiny, tmp_path / "cut")
    assert again.gguf.read_bytes() == whole.gguf.read_bytes()
    assert again.manifest.tokens == whole.manifest.tokens
    strip = [{**line, "seconds": 0} for line in curve(whole)]
    assert [{**line, "seconds": 0} for line in curve(again)] == strip
