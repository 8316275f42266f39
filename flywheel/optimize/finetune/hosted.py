"""A model tuned where it is served, by DSPy's own provider: one job, however often it is wanted.

What is paid for is not begun twice. The file and the job are written down the moment their names
are known; a job whose name was lost with its process is found again at the provider, by its file.
Ended early, the job goes on there, and the next run goes on with it.

DSPy's provider speaks OpenAI's protocol of files and fine-tuning jobs. It says which models it
tunes, checks the rows and begins the job; its way to wait is not taken: it tells no reason, takes
an outage for a job that is gone, and has forgotten the job when the process dies. Knows no price.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from flywheel.core.errors import Interrupted, TrainingError, UsageError
from flywheel.core.identity import bytes_hash, content_hash
from flywheel.core.wording import number
from flywheel.lm import Profile, Secrets
from flywheel.lm.bridge import dspy
from flywheel.optimize.finetune.trace import Trace
from flywheel.optimize.run import Stopped
from flywheel.optimize.stop import Stop

EPOCHS = 3
"""How often each trace is seen: as often as here, and a number that a price can be told by."""
FIRST_LOOK = 1.0
"""Seconds before a job is looked at for the second time; then ever more, as the profile says."""
SUCCEEDED, FAILED, CANCELLED = "succeeded", "failed", "cancelled"
"""How a job ends."""

_OWN = "https://api.openai.com/v1"
"""Where models without an address are: no variable leads a key elsewhere."""
_PASSING = frozenset({408, 409, 429})
"""HTTP status, besides those of a server that fails, after which the same may succeed."""
_ALONE = threading.Lock()
"""Held while DSPy's provider asks: its key and address are those of the process."""
_Answer = TypeVar("_Answer")


class Job(BaseModel):
    """A training at a provider, as its file in `.flywheel/trainings/hosted` has it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    format: Literal[1] = 1
    """Of this file."""
    model: str
    """The model that is trained, as its provider calls it."""
    address: str
    """Where it is served."""
    seed: int
    """Of the study: with another one it is another training."""
    rows: int
    """Traces that it learns from."""
    epochs: int = EPOCHS
    """How often it sees each."""
    file_id: str = ""
    """The provider's name for the rows, empty before it has them."""
    job_id: str = ""
    """Its name for the training, empty before it is known to have begun."""
    tuned: str = ""
    """Its name for the model that came of it, empty before the end."""
    tokens: int | None = None
    """Tokens that it was trained on, each as often as it was; None where nobody says."""
    seconds: float | None = None
    """From its beginning to its end by the provider's clock, None where nobody says."""

    @property
    def sentence(self) -> str:
        """What the training was, for a person."""
        tokens = "" if self.tokens is None else f", {self.tokens:,} tokens"
        took = "" if self.seconds is None else f" in {self.seconds / 60:.1f} min"
        return f"on {number(self.rows, 'row')}{tokens}{took}, by its provider: {self.tuned}"


@dataclass(frozen=True, slots=True)
class Look:
    """How far a job is."""

    status: str
    """In the provider's word: `queued`, `running`, `succeeded`, `failed`, `cancelled` …"""
    message: str
    """What the provider said last, or why it failed; may be empty."""
    step: int
    """Steps taken, 0 where nobody says."""
    steps: int
    """Steps of the whole, 0 where nobody says."""
    tokens: int | None
    """Tokens trained on, None where nobody says."""
    tuned: str
    """The model that came of it, empty for none."""
    seconds: float | None
    """From its beginning to its end, None before."""


def tunes(profile: Profile) -> bool:
    """Whether DSPy's own provider of a profile's model can have it tuned."""
    theirs = _provider().OpenAIProvider()
    return bool(theirs.finetunable and theirs.is_provider_model(profile.settings.model))


def chats(traces: Sequence[Trace]) -> list[dict[str, Any]]:
    """Traces as DSPy's providers take rows to train on."""
    return [
        {
            "messages": [
                *({"role": one.role, "content": one.text} for one in trace.messages),
                {"role": "assistant", "content": trace.completion},
            ]
        }
        for trace in traces
    ]


class HostedTraining:
    """Has the model of one profile trained where it is served."""

    def __init__(
        self,
        profile: Profile,
        secrets: Secrets,
        stop: Stop,
        *,
        on_look: Callable[[Look], None],
        on_said: Callable[[str], None],
    ) -> None:
        """`on_look` hears how far a job is, `on_said` what a person should know.

        Raises `LMError` where a key is missing.
        """
        self._profile, self._secrets, self._stop = profile, secrets, stop
        self._looked, self._said = on_look, on_said
        self._key = secrets.key(profile)
        self._address = profile.settings.api_base or _OWN
        longest = profile.settings.batch_poll
        self._first, self._longest = min(FIRST_LOOK, longest), longest

    def check(self) -> None:
        """See that the provider trains models, and does so for this key.

        Raises `UsageError` where it does not, `TrainingError` where it gives no answer.
        """
        try:
            self._asked(lambda sdk: sdk.fine_tuning.jobs.list(limit=1).data)
        except _Unanswered as error:
            model = self._profile.settings.model
            if error.passing:
                raise TrainingError(
                    f"{self._address} does not say whether it tunes {model}",
                    cause=str(error),
                    hint="run it again later: nothing was begun",
                ) from error
            raise UsageError(
                f"the student {model} cannot be trained at {self._address}",
                cause=str(error),
                hint="a key that may train: api_key_env of the profile names its variable"
                if error.status in (401, 403)
                else "--student with a profile of a local model, or another --optimizer",
            ) from error

    def run(
        self,
        rows: list[dict[str, Any]],
        folder: Path,
        *,
        seed: int,
        before: Callable[[], None],
        paid: Callable[[Job], None],
    ) -> Job:
        """Train on rows, or go on where a training of this folder is; gives it at its end.

        `before` is called before anything is begun that is paid for, and may refuse it; `paid` at
        an end that a provider may charge for. Raises `TrainingError` where it goes wrong,
        `Interrupted` where a person stopped waiting, `Stopped` where something else ends the study:
        after these two it goes on.
        """
        work = self._work(rows, folder, seed)
        if work.job.tuned:
            return work.job
        try:
            if not work.job.job_id:
                self._begin(work, before)
            return self._watch(work, paid)
        except _Unanswered as error:
            raise self._failed(work, error) from error
        except (KeyboardInterrupt, Stopped) as ended:
            told = self._left(work.job)
            self._said(told)
            if isinstance(ended, Stopped):
                raise
            raise Interrupted(told, hint="run the same command again: it goes on with it") from None

    # --- its steps -------------------------------------------------------------------------------

    def _work(self, rows: list[dict[str, Any]], folder: Path, seed: int) -> _Work:
        """What is to be done, with what is known of it."""
        chat = dspy.clients.utils_finetune.TrainDataFormat.CHAT
        _provider().OpenAIProvider.validate_data_format(chat)
        dspy.clients.utils_finetune.validate_data_format(rows, chat)
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
        job = Job(model=self._profile.model, address=self._address, seed=seed, rows=len(rows))
        name = content_hash("hosted", job.model, job.address, seed, job.epochs, bytes_hash(data))
        return _Work(folder / f"{name}.json", data, job).known()

    def _begin(self, work: _Work, before: Callable[[], None]) -> None:
        """Begin a job, or find the one that has begun."""
        if work.job.file_id and (lost := self._patiently(lambda sdk: _job_of(sdk, work.job))):
            work.keep(job_id=lost)
            self._said(f"found the training {lost} at {self._address} again: it goes on with it")
            return
        before()
        theirs = _provider().OpenAIProvider
        if not work.job.file_id:
            path = work.write()
            # As DSPy's provider does, which leaves the file open.
            sent = self._patiently(lambda sdk: sdk.files.create(file=path, purpose="fine-tune").id)
            work.keep(file_id=sent)
        told = {"n_epochs": work.job.epochs}
        try:
            begun = self._asked(
                lambda sdk: theirs._start_remote_training(work.job.file_id, work.job.model, told)
            )
        except _Unanswered as error:
            if not error.unsure:
                work.forget()
                raise
            # It may have come through: asked once more, it might be two.
            begun = self._patiently(lambda sdk: _job_of(sdk, work.job))
            if not begun:
                raise
        work.keep(job_id=begun)
        self._said(
            f"the training {begun} of {work.job.model} has begun at {self._address};"
            " it goes on there, whatever happens here"
        )

    def _watch(self, work: _Work, paid: Callable[[Job], None]) -> Job:
        """Wait for the end of a job."""
        pause, job = self._first, work.job
        while True:
            look = self._patiently(lambda sdk: _look(sdk, job.job_id))
            look = replace(look, message=self._secrets.redact(look.message))
            self._looked(look)
            if look.status in (SUCCEEDED, FAILED, CANCELLED):
                ended = job.model_copy(
                    update={"tuned": look.tuned, "tokens": look.tokens, "seconds": look.seconds}
                )
                if look.status != FAILED:
                    paid(ended)
                if look.status == SUCCEEDED and look.tuned:
                    work.keep(**ended.model_dump())
                    return ended
                work.forget()
                named = f"the training {job.job_id} of {job.model} at {job.address}"
                raise TrainingError(
                    f"{named} {_ENDS[look.status]}",
                    cause=look.message or "the provider gave no reason",
                    hint="run the same command again for another one, which is paid for again",
                )
            self._wait(pause)
            pause = min(1.5 * pause, self._longest)

    def _wait(self, seconds: float) -> None:
        self._stop.check()
        left = self._stop.left
        time.sleep(seconds if left is None else min(seconds, left))
        self._stop.check()

    def _left(self, job: Job) -> str:
        """What a person should know who leaves a job alone."""
        if job.job_id:
            return (
                f"the training {job.job_id} of {job.model} goes on at {job.address}, and is paid"
                " for; cancel it there where it is not wanted"
            )
        if not job.file_id:
            return f"no training of {job.model} has begun"
        return (
            f"whether a training of {job.model} has begun at {job.address} is not known;"
            " the next run looks for it there first"
        )

    # --- asking ----------------------------------------------------------------------------------

    def _asked(self, call: Callable[[Any], _Answer]) -> _Answer:
        """What the provider gives, asked once. Raises `_Unanswered`."""
        sdk = _provider().openai
        try:
            with _reached(self._address, self._key, self._profile.settings.timeout):
                return call(sdk)
        except sdk.APIStatusError as error:
            said = error.body.get("message") if isinstance(error.body, dict) else None
            told = f"{error.status_code}: {said or error.message}"
            raise _Unanswered(self._secrets.redact(told), error.status_code) from error
        except sdk.OpenAIError as error:
            raise _Unanswered(self._secrets.redact(str(error)), None) from error
        except (AttributeError, TypeError, ValueError) as error:
            said = f"what it says is not of the protocol: {error}"
            raise _Unanswered(self._secrets.redact(said), 200) from error

    def _patiently(self, call: Callable[[Any], _Answer]) -> _Answer:
        """The same of what may be asked again: an outage is waited out.

        Raises `_Unanswered` for what no waiting mends, and after the profile's patience.
        """
        since, pause = None, self._first
        while True:
            try:
                answer = self._asked(call)
            except _Unanswered as error:
                now = time.monotonic()
                if since is None:
                    since = now
                    if error.passing:
                        self._said(f"{self._address} does not answer ({error}): waiting for it")
                if not error.passing or now - since > self._profile.settings.patience:
                    raise
                self._wait(pause)
                pause = min(1.5 * pause, self._longest)
            else:
                if since is not None:
                    self._said(f"{self._address} answers again: going on")
                return answer

    def _failed(self, work: _Work, error: _Unanswered) -> TrainingError:
        job = work.job
        if not job.job_id:
            unsure = job.file_id and error.unsure
            return TrainingError(
                f"{job.address} gave no training of {job.model}",
                cause=str(error),
                hint="run the same command again: it looks first whether one has begun"
                if unsure
                else "mend that, and run the same command again",
            )
        if error.passing:
            return TrainingError(
                f"{job.address} does not say how the training {job.job_id} is",
                cause=str(error),
                hint="run the same command again: it goes on with it",
            )
        return TrainingError(
            f"{job.address} does not tell of the training {job.job_id}",
            cause=str(error),
            hint="use the key that it was begun with; without"
            f" {work.path} another one is begun, which is paid for again",
        )


@dataclass(slots=True)
class _Work:
    """One training, with its file."""

    path: Path
    """Where it is kept."""
    data: bytes
    """Its rows, as they are sent."""
    job: Job
    """What is known of it."""

    def known(self) -> _Work:
        """Itself, with what an earlier run has kept. Raises `TrainingError` for a damaged file."""
        try:
            self.job = Job.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, ValidationError) as error:
            raise TrainingError(
                f"{self.path} cannot be read, so whether a training has begun is not known",
                cause=str(error).partition("\n")[0],
                hint="see at the provider; without the file another training is begun",
            ) from error
        return self

    def keep(self, **changes: Any) -> None:
        """Write down what is new of it, at once or not at all."""
        self.job = self.job.model_copy(update=changes)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        making = self.path.with_suffix(".new")
        with making.open("w", encoding="utf-8") as file:
            file.write(self.job.model_dump_json(indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        making.replace(self.path)

    def forget(self) -> None:
        """Let the next run begin another."""
        self.path.unlink(missing_ok=True)

    def write(self) -> Path:
        """The file of its rows."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        path = self.path.with_suffix(".jsonl")
        path.write_bytes(self.data)
        return path


class _Unanswered(Exception):
    """A provider gave no answer, or refused one."""

    def __init__(self, told: str, status: int | None) -> None:
        super().__init__(told)
        self.status = status
        """HTTP status, None where there was no answer at all."""

    @property
    def unsure(self) -> bool:
        """Whether what was wanted may have been done all the same."""
        return self.status is None or self.status == 408 or not 400 <= self.status < 500

    @property
    def passing(self) -> bool:
        """Whether the same may succeed later."""
        return self.status is None or self.status >= 500 or self.status in _PASSING


_ENDS = {
    SUCCEEDED: "has ended without a model",
    FAILED: "has failed",
    CANCELLED: "was cancelled",
}


@contextmanager
def _reached(address: str, key: str | None, timeout: float) -> Iterator[None]:
    """Let DSPy's provider ask at an address, with a key, once a call.

    It asks by the library's client of the process; what that had before, it has again afterwards.
    """
    sdk = _provider().openai
    told = {
        "api_type": "openai",
        "api_key": key or "none",
        "base_url": address.rstrip("/") + "/",
        "timeout": timeout,
        "max_retries": 0,  # what begins a job would be sent again, and be two
    }
    with _ALONE:
        before = {name: getattr(sdk, name) for name in told}
        try:
            for name, value in told.items():
                setattr(sdk, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(sdk, name, value)


def _provider() -> Any:
    """DSPy's module of the provider, with the library that it asks by."""
    return dspy.clients.openai


def _job_of(sdk: Any, job: Job) -> str:
    """The job that learns from a file, empty where none does or it came to nothing."""
    for one in sdk.fine_tuning.jobs.list(limit=100):
        if one.training_file == job.file_id and one.status not in (FAILED, CANCELLED):
            return str(one.id)
    return ""


def _look(sdk: Any, job_id: str) -> Look:
    job = sdk.fine_tuning.jobs.retrieve(job_id)
    message = job.error.message if job.error is not None else ""
    step = steps = 0
    if job.status not in (SUCCEEDED, FAILED, CANCELLED):
        message, step, steps = _last_event(sdk, job_id)
    return Look(
        status=str(job.status),
        message=str(message or ""),
        step=step,
        steps=steps,
        tokens=job.trained_tokens if isinstance(job.trained_tokens, int) else None,
        tuned=str(job.fine_tuned_model or ""),
        seconds=None if job.finished_at is None else float(job.finished_at - job.created_at),
    )


def _last_event(sdk: Any, job_id: str) -> tuple[str, int, int]:
    """What was said last of a job, the step and the steps; nothing where nobody tells."""
    try:
        events = sdk.fine_tuning.jobs.list_events(fine_tuning_job_id=job_id, limit=1).data
    except sdk.NotFoundError:
        return "", 0, 0
    if not events:
        return "", 0, 0
    data = events[0].data if isinstance(events[0].data, dict) else {}
    step, steps = data.get("step"), data.get("total_steps")
    if not isinstance(step, int) or not isinstance(steps, int):
        step = steps = 0
    return str(events[0].message), step, steps
