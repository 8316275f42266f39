"""The port `Tuner`: the student's own model, trained on this machine and served beside itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.core.errors import UsageError
from flywheel.lm import Engine, Purpose, local_file
from flywheel.registry import Adapter, Tuned

if TYPE_CHECKING:
    import dspy

    from flywheel.optimize.finetune import Progress, Trace, Trained

LEAST_SHARE = 0.5
"""Of the time that is left when a training begins, at the least, if that leaves time to score."""
SCORED_ONCE = 1.25
"""What scoring takes, of what the longest trial took; where time is short, it gets no more."""
SPARE = 60.0
"""Seconds that are left over for writing an adapter, and for serving it the first time."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What a state of a program needs beside the student's own weights: nothing, or one of both."""

    adapter: Adapter | None = None
    """An adapter that was trained here."""
    tuned: Tuned | None = None
    """A model that its provider tuned."""
    learned: Mapping[str, object] = field(default_factory=dict)
    """What the training says of itself."""
    told: str = ""
    """The same in a sentence."""


class Tuning:
    """Trains adapters for one study; the engine learns each as a profile of its own."""

    def __init__(
        self,
        engine: Engine,
        purpose: Purpose,
        adapters: Path,
        *,
        seed: int,
        time_limit: float | None,
        left: Callable[[], float | None],
        scoring: Callable[[], float],
        start: Trained | None,
        on_progress: Callable[[Progress], None],
    ) -> None:
        """`purpose` is the student's, as its model is; `start` is what the study begins with.

        `time_limit` is the study's, in seconds; `left` says how many it has yet, `scoring` how many
        a trial has taken at most.
        """
        self._engine, self._purpose, self._adapters = engine, purpose, adapters
        self._seed, self._time_limit, self._left, self._scoring = seed, time_limit, left, scoring
        self._start, self._told = start, on_progress
        self._profile = engine.chain(purpose.role, purpose.profile)[0]
        self._trained: dict[str, Trained] = {}

    def check(self) -> None:
        """See the port."""
        from flywheel.optimize.finetune import (  # noqa: PLC0415  of the extra `train`
            TrainOptions,
            base_of,
            check_libraries,
        )

        check_libraries()
        base = base_of(self._base())
        if self._start is not None:
            self._start.check(base, TrainOptions())

    def begun(self) -> Purpose:
        """The student as the study begins with it: with the weights of its start, or as it is."""
        return self._purpose if self._start is None else self._served(self._start)

    def tune(self, traces: Sequence[Trace], validation: Sequence[Trace], folder: Path) -> dspy.LM:
        """See the port."""
        from flywheel.lm.bridge import language_model  # noqa: PLC0415  DSPy, for a second
        from flywheel.optimize.finetune import (  # noqa: PLC0415  of the extra `train`
            TrainOptions,
            base_of,
            train,
            training_hash,
        )

        options = TrainOptions(
            seed=self._seed, max_seconds=self._seconds(), time_limit=self._time_limit
        )
        base = self._base()
        found = train(
            traces,
            validation,
            base,
            options,
            folder / training_hash(base_of(base), traces, validation, options, self._start),
            adapters=self._adapters,
            start=self._start,
            on_progress=self._told,
        )
        model = language_model(self._engine, self._served(found))
        self._trained[model.model] = found
        return model

    def _served(self, trained: Trained) -> Purpose:
        """The student with an adapter."""
        name = f"{self._profile.name}-{trained.hash}"
        # Nobody else's answer is scored for it.
        served = {"adapter": trained.gguf, "fallbacks": ()}
        self._engine.add(name, self._profile.settings.model_copy(update=served))
        return replace(self._purpose, profile=name)

    def weights(self, models: Iterable[str]) -> Weights:
        """What was trained here of the models that a state asks, by what DSPy calls them."""
        found = next((self._trained[one] for one in models if one in self._trained), self._start)
        if found is None:
            return Weights()
        said = found.manifest
        if self._start is not None and found.hash == self._start.hash:
            # What it says of itself is of another study.
            told = f"nothing that is kept: the weights are those of {said.hash[:8]}, as before"
            return Weights(adapter=Adapter(hash=found.hash, base=said.base), told=told)
        return Weights(
            adapter=Adapter(hash=found.hash, base=said.base),
            learned=said.model_dump(mode="json"),
            told=said.sentence,
        )

    def _seconds(self) -> float | None:
        """How long to train: what comes of it is scored in the same time, and asked one by one."""
        left = self._left()
        if left is None:
            return None
        once = left - SPARE / 2 - SCORED_ONCE * self._scoring()
        if once < left * LEAST_SHARE / 4:
            # Nothing could be scored in any case: what is trained is there for a longer limit.
            return max(1.0, left * LEAST_SHARE)
        return max(min(left * LEAST_SHARE, once), left - SPARE - 2 * self._scoring())

    def _base(self) -> Path:
        if self._profile.settings.adapter is not None:
            raise UsageError(
                f"the profile {self._profile.name} has an adapter already",
                cause="an adapter is trained on a model as it is",
                hint="--student with a profile of the same model, without adapter",
            )
        return local_file(self._profile)
