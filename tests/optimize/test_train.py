"""A tiny model is trained: it learns, goes on where it stopped, and says what goes wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from flywheel.core.errors import Interrupted, TrainingError, UsageError
from flywheel.optimize.finetune import (
    Progress,
    Trained,
    TrainOptions,
    base_of,
    find_adapter,
    merge_folder,
    merge_gguf,
    train,
)
from flywheel.optimize.finetune.model import tuned
from tests.optimize.conftest import NEEDS_TRAIN, QUICK, trace, traces

pytestmark = NEEDS_TRAIN


class Stops:
    """Presses Ctrl-C after a step."""

    def __init__(self, after: int) -> None:
        self._after = after

    def __call__(self, progress: Progress) -> None:
        if progress.step == self._after:
            raise KeyboardInterrupt


def trained(
    base: Path,
    place: Path,
    options: TrainOptions = QUICK,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    start: Trained | None = None,
) -> Trained:
    return train(
        traces(0, 20),
        traces(20, 6),
        base,
        options,
        place / "work",
        adapters=place / "adapters",
        start=start,
        on_progress=on_progress,
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


def test_a_training_that_has_ended_is_not_run_again(tiny: Path, tmp_path: Path) -> None:
    done = trained(tiny, tmp_path)
    heard: list[Progress] = []
    assert trained(tiny, tmp_path, on_progress=heard.append) == done
    assert heard == []


def test_it_ends_early_when_validation_gets_no_better_and_keeps_the_best(
    tiny: Path, tmp_path: Path
) -> None:
    heard: list[Progress] = []
    wild = replace(QUICK, epochs=20, patience=2, learning_rate=0.3)
    done = trained(tiny, tmp_path, wild, heard.append)
    tested = {one.step: one.validation_loss for one in heard if one.validation_loss is not None}
    best = min(tested, key=lambda step: tested[step] or 0.0)
    assert done.manifest.end == "patience"
    assert done.manifest.steps < 100
    assert (done.manifest.best_step, done.manifest.validation_loss) == (best, tested[best])
    assert list(tested).index(best) == len(tested) - 3


def test_a_training_goes_on_from_an_adapter(tiny: Path, tmp_path: Path) -> None:
    first = trained(tiny, tmp_path / "first")
    later = trained(tiny, tmp_path / "later", start=first)
    assert later.manifest.start == first.hash
    assert first.manifest.start == ""
    assert f"from {first.hash[:8]} on" in later.manifest.sentence
    assert later.manifest.fingerprint != first.manifest.fingerprint
    # Its first step is one of a model that has learned, and not of one that has not.
    assert curve(later)[0]["loss"] < curve(first)[0]["loss"]
    assert (later.manifest.validation_loss or 9) < (first.manifest.validation_loss or 0)
    # Stopped and gone on with, it ends with the same weights.
    with pytest.raises(Interrupted):
        trained(tiny, tmp_path / "cut", on_progress=Stops(4), start=first)
    assert trained(tiny, tmp_path / "cut", start=first).hash == later.hash


def test_what_it_began_with_is_kept_where_nothing_validates_better(
    tiny: Path, tmp_path: Path
) -> None:
    first = trained(tiny, tmp_path / "first", replace(QUICK, epochs=8))
    wild = replace(QUICK, learning_rate=1.0, patience=2)
    assert trained(tiny, tmp_path / "later", wild, start=first).hash == first.hash
    ended = json.loads((tmp_path / "later" / "work" / "losses.jsonl").read_text().splitlines()[0])
    assert ended["step"] == 1


def test_an_adapter_that_does_not_fit_begins_nothing(tiny: Path, tmp_path: Path) -> None:
    first = trained(tiny, tmp_path / "first")
    wider = replace(QUICK, rank=QUICK.rank * 2)
    with pytest.raises(UsageError, match="has another form"):
        trained(tiny, tmp_path / "wider", wider, start=first)
    other = replace(first, manifest=first.manifest.model_copy(update={"base": "another"}))
    with pytest.raises(UsageError, match="is for another model"):
        trained(tiny, tmp_path / "other", start=other)
    edited = first.folder / "adapter_model.safetensors"
    whole = edited.read_bytes()
    for wrong in (whole[:-4] + b"\0\0\0\1", whole[:1000], b""):
        edited.write_bytes(wrong)
        with pytest.raises(UsageError, match=r"is not what was trained|cannot be read"):
            trained(tiny, tmp_path / "edited", start=first)


def test_its_time_ends_it(tiny: Path, tmp_path: Path) -> None:
    # A validation fits into the limit, and may end it earlier: here there is none.
    options = replace(QUICK, epochs=100_000, max_seconds=0.5)
    place = tmp_path / "work"
    done = train(traces(0, 20), [], tiny, options, place, adapters=tmp_path / "adapters")
    assert done.manifest.end == "time"
    assert 0.5 <= done.manifest.seconds < 30  # in whole milliseconds
    assert len(curve(done)) == done.manifest.steps >= 1


def test_what_its_time_ended_goes_on_when_it_has_more(tiny: Path, tmp_path: Path) -> None:
    # Ended after its first step; asked again with the same limit, however much of it is left.
    short = replace(QUICK, max_seconds=0.001, time_limit=10)
    first = trained(tiny, tmp_path, short)
    assert "a longer --time-limit goes on" in first.manifest.sentence
    heard: list[Progress] = []
    assert trained(tiny, tmp_path, replace(short, max_seconds=5), heard.append) == first
    assert heard == []
    longer = replace(QUICK, max_seconds=100, time_limit=200)
    whole = trained(tiny, tmp_path, longer, heard.append)
    assert [one.step for one in heard] == list(range(2, 11))
    assert (first.manifest.steps, whole.manifest.steps) == (1, 10)
    assert whole.manifest.end == "epochs"
    # What has seen all is not run again, whatever is allowed.
    assert trained(tiny, tmp_path, replace(longer, time_limit=None)) == whole


def test_what_its_time_ended_comes_again_of_its_last_checkpoint(tiny: Path, tmp_path: Path) -> None:
    short = replace(QUICK, max_seconds=0.001, time_limit=10)
    first = trained(tiny, tmp_path, short)
    # Also where it was killed before it could write its adapter down.
    (tmp_path / "work" / "trained.json").unlink()
    shutil.rmtree(first.folder)
    heard: list[Progress] = []
    again = trained(tiny, tmp_path, replace(short, max_seconds=5), heard.append)
    assert (again.hash, again.manifest.steps, heard) == (first.hash, 1, [])
    assert again.manifest.end == "time"


def test_without_validation_the_last_weights_are_kept(tiny: Path, tmp_path: Path) -> None:
    done = train(traces(0, 8), [], tiny, QUICK, tmp_path / "work", adapters=tmp_path / "adapters")
    assert (done.manifest.validation_loss, done.manifest.best_step) == (None, 4)


def test_a_folder_of_another_training_is_refused(tiny: Path, tmp_path: Path) -> None:
    trained(tiny, tmp_path)
    with pytest.raises(UsageError, match="holds another training"):
        trained(tiny, tmp_path, replace(QUICK, rank=3))
    # How long it may take is no other training.
    trained(tiny, tmp_path, replace(QUICK, max_seconds=100))


def test_a_checkpoint_that_was_damaged_is_an_error_until_the_end(
    tiny: Path, tmp_path: Path
) -> None:
    done = trained(tiny, tmp_path)
    (tmp_path / "work" / "checkpoint.safetensors").write_bytes(b"no")
    assert trained(tiny, tmp_path) == done
    (tmp_path / "work" / "trained.json").unlink()
    with pytest.raises(TrainingError, match="cannot be read"):
        trained(tiny, tmp_path)


def test_weights_that_were_changed_are_refused_and_made_again(tiny: Path, tmp_path: Path) -> None:
    done = trained(tiny, tmp_path)
    whole = done.gguf.read_bytes()
    done.gguf.write_bytes(whole[:-1] + b"?")
    with pytest.raises(UsageError, match="is not what was trained"):
        find_adapter(tmp_path / "adapters", done.hash)
    heard: list[Progress] = []
    again = trained(tiny, tmp_path, on_progress=heard.append)
    assert (again.hash, again.gguf.read_bytes(), heard) == (done.hash, whole, [])
    # So are those that a training begins with.
    kept = done.weights.read_bytes()
    done.weights.write_bytes(kept[:-1] + b"?")
    assert trained(tiny, tmp_path, on_progress=heard.append) == done
    assert (done.weights.read_bytes(), heard) == (kept, [])
    # As it is where its manifest is gone.
    (done.folder / "manifest.json").unlink()
    assert trained(tiny, tmp_path).gguf.read_bytes() == whole


def test_one_at_a_time_trains_in_a_folder(tiny: Path, tmp_path: Path) -> None:
    refused: list[str] = []

    def beside(progress: Progress) -> None:
        with pytest.raises(UsageError, match="is under way already") as caught:
            trained(tiny, tmp_path)
        refused.append(caught.value.message)

    trained(tiny, tmp_path, on_progress=beside)
    assert refused


def test_steps_that_are_too_large_are_an_error_and_keep_the_checkpoint(
    tiny: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="broke down in step") as caught:
        trained(tiny, tmp_path, replace(QUICK, learning_rate=1e30))
    assert "learning_rate below 1e+30" in str(caught.value.hint)
    assert not (tmp_path / "adapters").exists()


def test_traces_that_are_not_kept_are_not_learned_from(tiny: Path, tmp_path: Path) -> None:
    left = trace(3, kept=False, reason="it fails")
    with pytest.raises(UsageError, match="there is nothing to learn from") as caught:
        train([left], [], tiny, QUICK, tmp_path / "work", adapters=tmp_path / "adapters")
    assert caught.value.cause == "1 × it fails"


def test_what_does_not_fit_is_said_of_what_is_learned_and_left_out_of_the_validation(
    tiny: Path, tmp_path: Path
) -> None:
    short = replace(QUICK, row_tokens=100)
    place = {"base": tiny, "options": short, "adapters": tmp_path / "adapters"}
    long = [trace(number, completion="y" * 200) for number in range(3)]
    with pytest.raises(UsageError, match="no trace fits") as caught:
        train(long, [], folder=tmp_path / "one", **place)
    assert caught.value.cause == "3 × longer than 100 tokens"
    done = train(traces(0, 4), long, folder=tmp_path / "two", **place)
    assert (done.manifest.train_rows, done.manifest.validation_rows) == (4, 0)


def test_peft_reads_what_was_trained(tiny: Path, tmp_path: Path) -> None:
    from peft import PeftConfig
    from safetensors.numpy import load_file

    done = trained(tiny, tmp_path)
    config = PeftConfig.from_pretrained(str(done.folder))
    assert (config.r, config.lora_alpha) == (2, 4)
    weights = load_file(done.weights)
    assert len(weights) == 2 * 7 * 2
    assert any(weights[name].any() for name in weights if ".lora_B." in name)


def test_worked_into_its_model_an_adapter_says_what_it_says_beside_it(
    tiny: Path, wide: None, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    done = trained(tiny, tmp_path)
    beside = tuned(base_of(tiny), QUICK)
    with torch.no_grad():
        for name, weight in beside.weights().items():
            weight.copy_(load_file(done.weights)[name])
    folder = merge_folder(tiny, done, tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(folder)
    plain = beside.model.get_base_model()
    plain.set_attn_implementation("eager")
    tokens = torch.tensor([[5, 9, 30, 31]])
    with torch.no_grad():
        said, wanted = merged(tokens).logits, beside.model(tokens).logits
        assert torch.allclose(said, wanted, atol=1e-4)
        with beside.model.disable_adapter():
            assert not torch.allclose(said, beside.model(tokens).logits, atol=1e-2)
    with pytest.raises(UsageError, match="is there already"):
        merge_folder(tiny, done, folder)
    with pytest.raises(UsageError, match="for another model"):
        merge_folder(folder, done, tmp_path / "twice")
    with pytest.raises(UsageError, match="is no GGUF file"):
        merge_gguf(tiny, done, tmp_path / "merged.gguf")
