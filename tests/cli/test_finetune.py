"""`flywheel optimize` with weights: the small model is trained, served, and trained further."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flywheel.lm.backends import local
from flywheel.workspace import find
from tests.cli.conftest import Ran
from tests.fakes.versions import version
from tests.optimize.conftest import NEEDS_TRAIN

pytestmark = [
    NEEDS_TRAIN,
    pytest.mark.slow,
    pytest.mark.skipif(not local.installed(), reason="the local model is not installed"),
]
TRAIN = (
    "optimize", "--module", "repair", "--metric", "exact_match", "--rows", "4",
    "--optimizer", "bootstrap-finetune", "--gate-rows", "0", "--json",
)  # fmt: skip


def test_weights_are_trained_served_and_gone_on_from(
    flywheel: Callable[..., Ran], folder: Path
) -> None:
    (folder / "flywheel.toml").write_text('[lm.student]\nmodel = "local"\ncontext = 2048\n')
    version(find(explicit=folder).datasets, train=4, validation=4, holdout=8)
    first = flywheel(*TRAIN)
    assert first.code == 0, first.err
    said = first.json
    assert said["start"] is None
    assert said["learned"]["steps"] > 0
    child = flywheel(*TRAIN, "--from", said["version"].partition("@")[2])
    assert child.code == 0, child.err
    # The version plays the student, with the weights that it was scored with.
    assert child.json["start"] == said["version"]
    assert child.json["baseline"]["value"] == said["best"]["value"]
    shown = flywheel("version", "show", child.json["version"], "--json").json
    assert shown["parent"] == said["version"]
    assert child.json["learned"]["start"] == said["learned"]["hash"]
    assert shown["adapter"]["hash"] == child.json["learned"]["hash"] != said["learned"]["hash"]
