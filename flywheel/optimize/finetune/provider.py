"""DSPy's way to tune: `lm.finetune` and `dspy.BootstrapFinetune` with a student of ours.

A student that is served on this machine is trained here; another one by its provider, in DSPy's own
way. What comes of it is one more profile of the engine, named `tuned-HASH`, beside the base's.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flywheel.core.errors import UsageError
from flywheel.core.identity import content_hash
from flywheel.lm import LOCAL, Engine, Profile, Purpose, local_file
from flywheel.lm.bridge import dspy, model_name
from flywheel.optimize.finetune.options import TrainOptions
from flywheel.optimize.finetune.trace import Message, Trace
from flywheel.optimize.finetune.train import OnProgress, Progress, train

_ONE_IN = 10
"""Of so many questions one is held back, to validate with."""
_LEAST = 20
"""Questions below which none is."""
_ROW = 'a row is {"messages": [{"role": …, "content": …}, …]}, and its last turn the assistant\'s'


@dataclass(frozen=True, slots=True)
class Place:
    """Where what is trained is kept."""

    working: Path
    """Folder of trainings, each in a folder of its own."""
    adapters: Path
    """Folder of adapters, by hash."""


def tuner_of(
    engine: Engine,
    purpose: Purpose,
    place: Place,
    *,
    on_progress: OnProgress = lambda progress: None,
) -> dspy.Provider:
    """What tunes the model that plays a purpose: `provider` of `language_model`.

    Raises `UsageError` for a model that cannot be tuned.
    """
    profile = engine.chain(purpose.role, purpose.profile)[0]
    if profile.provider == LOCAL:
        if profile.settings.adapter is not None:
            raise UsageError(
                f"the profile {profile.name} is tuned already",
                cause=f"it has the adapter {profile.settings.adapter}",
                hint="name a profile of its base: what is trained begins there",
            )
        return LocalTuner(engine, profile, place, on_progress=on_progress)
    theirs = dspy.LM(profile.settings.model, api_key="none").infer_provider()
    if not theirs.finetunable:
        raise UsageError(
            f"{profile.settings.model} of the profile {profile.name} cannot be tuned",
            cause="it is served elsewhere, and DSPy knows no way to have it tuned there",
            hint='a local model can be: model = "local"; and those of openai/…',
        )
    return HostedTuner(engine, profile, theirs)


class LocalJob(dspy.TrainingJob):  # type: ignore[misc]  # DSPy is not typed
    """A training on this machine."""

    progress: Progress | None = None
    """How far it is, None before the first step."""
    stopped: threading.Event
    """Set when nobody wants it any more."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stopped = threading.Event()

    def cancel(self) -> bool:
        """End it after the step that runs; its result is then an error, its checkpoint is kept."""
        self.stopped.set()
        return not self.done()

    def status(self) -> str:
        """In one word, or how far it is."""
        if self.done():
            return "failed" if isinstance(super().result(), Exception) else "succeeded"
        if self.progress is None:
            return "pending"
        return f"step {self.progress.step} of {self.progress.steps}"

    def result(self, timeout: float | None = None) -> Any:
        """The model that was tuned. Raises what the training did, where DSPy returns it."""
        try:
            found = super().result(timeout)
        except KeyboardInterrupt:
            self.cancel()
            raise
        if isinstance(found, Exception):
            raise found
        return found


class LocalTuner(dspy.Provider):  # type: ignore[misc]  # DSPy is not typed
    """Trains adapters of one local model."""

    def __init__(
        self, engine: Engine, profile: Profile, place: Place, *, on_progress: OnProgress
    ) -> None:
        super().__init__()
        self.finetunable = True
        self.TrainingJob = LocalJob
        self._engine, self._profile, self._place = engine, profile, place
        self._told = on_progress

    def __deepcopy__(self, memo: object) -> LocalTuner:
        """Itself: copies of a program share one engine."""
        return self

    def launch(self, lm: Any, launch_kwargs: dict[str, Any] | None = None) -> None:
        """Nothing: the server starts with the first question."""

    def kill(self, lm: Any, launch_kwargs: dict[str, Any] | None = None) -> None:
        """Nothing: the server ends by itself when nobody asks."""

    def finetune(
        self,
        job: LocalJob,
        model: str,
        train_data: list[dict[str, Any]],
        train_data_format: Any,
        train_kwargs: dict[str, Any] | None = None,
    ) -> str:
        """Train an adapter; gives the name of a model that `lm.copy(model=…)` takes.

        `train_kwargs` are those of `TrainOptions`. Raises what `train` raises.
        """
        options = TrainOptions.of(train_kwargs or {})
        traces = [_trace(one, number) for number, one in enumerate(train_data)]
        learned, tested = _parted(traces)

        def told(progress: Progress) -> None:
            job.progress = progress
            self._told(progress)
            if job.stopped.is_set():
                raise KeyboardInterrupt

        name = content_hash([one.example_id for one in traces], train_kwargs or {})
        trained = train(
            learned,
            tested,
            local_file(self._profile),
            options,
            self._place.working / name,
            adapters=self._place.adapters,
            on_progress=told,
        )
        served = {"adapter": trained.gguf, "fallbacks": ()}
        settings = self._profile.settings.model_copy(update=served)
        return _added(self._engine, f"tuned-{trained.hash}", settings)


class HostedTuner(dspy.Provider):  # type: ignore[misc]  # DSPy is not typed
    """Has a model tuned by its provider, in DSPy's own way and with the key that DSPy finds."""

    def __init__(self, engine: Engine, profile: Profile, theirs: dspy.Provider) -> None:
        super().__init__()
        self.finetunable = True
        self.TrainingJob = theirs.TrainingJob
        self._engine, self._profile, self._theirs = engine, profile, theirs

    def __deepcopy__(self, memo: object) -> HostedTuner:
        """Itself: copies of a program share one engine."""
        return self

    def finetune(
        self,
        job: Any,
        model: str,
        train_data: list[dict[str, Any]],
        train_data_format: Any,
        train_kwargs: dict[str, Any] | None = None,
    ) -> str:
        """As DSPy's provider; gives the name of a model that `lm.copy(model=…)` takes."""
        settings = self._profile.settings
        found: str = self._theirs.finetune(
            job, settings.model, train_data, train_data_format, train_kwargs
        )
        served = self._profile.beside(found)
        changed = settings.model_copy(update={"model": served, "fallbacks": ()})
        return _added(self._engine, f"tuned-{content_hash(served)}", changed)


def _added(engine: Engine, name: str, settings: Any) -> str:
    engine.add(name, settings)
    return model_name(Profile(name, settings))


def _trace(said: dict[str, Any], number: int) -> Trace:
    """A row of DSPy's. Raises `UsageError` for what is no chat that ends with an answer."""
    try:
        turns = [Message(one["role"], str(one["content"])) for one in said["messages"]]
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"row {number} to train on is no chat", cause=repr(error), hint=_ROW
        ) from error
    if not turns or turns[-1].role != "assistant":
        raise UsageError(f"row {number} to train on does not end with an answer", hint=_ROW)
    identity = content_hash([(one.role, one.text) for one in turns])
    return Trace(
        example_id=identity,
        predictor="",
        messages=tuple(turns[:-1]),
        completion=turns[-1].text,
        score=None,
        origin="dspy",
        kept=True,
        reason="DSPy kept it",
    )


def _parted(traces: Sequence[Trace]) -> tuple[list[Trace], list[Trace]]:
    """What is learned from, and what is held back: the same question is never in both."""
    if len(traces) < _LEAST:
        return list(traces), []
    parts: tuple[list[Trace], list[Trace]] = ([], [])
    for trace in traces:
        asked = content_hash([(one.role, one.text) for one in trace.messages])
        parts[int(asked, 16) % _ONE_IN == 0].append(trace)
    return parts
