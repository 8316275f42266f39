"""Training: an adapter learns what a program should answer.

The adapter is of low rank (LoRA: Hu et al., ICLR 2022), learned by AdamW (Loshchilov and Hutter,
ICLR 2019) at a rate that falls along a cosine (the same, ICLR 2017). The loss is that of the
answer's tokens alone. A step is some traces, in as many passes as they need; the same seed, traces,
threads and kind of processor give the same weights, if no limit of time bends the rate.

After each so many steps everything is written down, and a training that is run again in its folder
goes on there: on a processor, to the weights that it would have had without an end between. What
validates best is kept.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from flywheel.core.errors import Interrupted, TrainingError, UsageError
from flywheel.core.identity import content_hash
from flywheel.core.lock import locked_if_free
from flywheel.optimize.finetune.adapter import LOSSES, Trained, keep, whole
from flywheel.optimize.finetune.base import LIBRARIES, Base, base_of, check_libraries
from flywheel.optimize.finetune.checkpoint import (
    Checkpoint,
    End,
    TrainingState,
    judged,
    load,
    save,
)
from flywheel.optimize.finetune.encode import Encoded, Lot, encoded
from flywheel.optimize.finetune.model import Tuned, tuned
from flywheel.optimize.finetune.options import TrainOptions
from flywheel.optimize.finetune.pack import packs
from flywheel.optimize.finetune.trace import Trace, learned

_ENDED = "trained.json"
"""Names the adapter of a training that has ended."""
_LOCK = "training.lock"
"""Held by who trains in a folder."""
_LEAST = 0.01
"""What the learning rate ends at, as a share of its highest."""
_TIMELESS = ("max_seconds", "time_limit", "checkpoint_steps", "checkpoint_seconds")
"""Options that may change when a training goes on."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training is, after a step or a validation."""

    step: int
    """Steps taken."""
    steps: int
    """Steps of the whole training."""
    loss: float
    """Of the step's answers, in nats a token."""
    validation_loss: float | None
    """That of what is not learned from, None where it was not taken after this step."""
    tokens_per_second: float
    """Tokens of traces learned from in a second, since the training began or went on."""
    eta_seconds: float
    """What is left, at that speed."""


OnProgress = Callable[[Progress], None]


def train(
    traces: Sequence[Trace],
    validation: Sequence[Trace],
    base: Path,
    options: TrainOptions,
    folder: Path,
    *,
    adapters: Path,
    start: Trained | None = None,
    on_progress: OnProgress = lambda progress: None,
) -> Trained:
    """Train an adapter of a base, or go on where a training of this folder stopped.

    `start` is an adapter whose weights it begins with, and keeps where the validation finds none
    better. `validation` may be empty: then nothing ends it early and the last weights are kept. Its
    working files are in `folder`, its adapter in `adapters/HASH`. Run again after its end, it gives
    that; where its time ended it and more is allowed now, it goes on.

    Raises `UsageError` where the extra is not installed, the base cannot be tuned, nothing is to be
    learned, the folder is another training's or `start` does not fit; `TrainingError` where it goes
    wrong; `Interrupted` where a person stopped it.
    """
    check_libraries()
    # Read when torch is loaded. Threads that spin long while they wait for one that is not running
    # cost more than they give where something else is at work, and such that sleep at once cost a
    # fifth where nothing is: between the two.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    of = base_of(base)
    kept, tested = learned(traces), tuple(one for one in validation if one.kept)
    if start is not None:
        start.check(of, options)
    fingerprint = training_hash(of, traces, validation, options, start)
    with locked_if_free(folder / _LOCK) as free:
        if not free:
            raise UsageError(
                f"the training in {folder} is under way already",
                hint="wait for it: what it learns is taken from there, and not learned again",
            )
        if (trained := _ended(folder, adapters, of, fingerprint, options)) is not None:
            return trained
        training = _Training(of, options, folder, kept, tested, start, on_progress)
        training.begin(load(folder, fingerprint), fingerprint)
        try:
            with _repeatable(training.tuned.device):
                end = training.run()
        except KeyboardInterrupt:
            raise Interrupted(
                f"training stopped after step {training.standing.step} of {training.steps}",
                cause=f"the checkpoint after step {training.saved} is kept in {folder}",
                hint="run the same command again: it goes on from there",
            ) from None
        trained = training.keep(adapters, end)
        _end(folder, trained, fingerprint, options.allowed if end == "time" else None)
    return trained


def training_hash(
    base: Base,
    traces: Sequence[Trace],
    validation: Sequence[Trace],
    options: TrainOptions,
    start: Trained | None = None,
) -> str:
    """Identity of a training: what is learned from, on what base, from where on, and how."""
    said = {name: one for name, one in asdict(options).items() if name not in _TIMELESS}
    asked = [
        content_hash([asdict(message) for message in one.messages], one.completion)
        for one in (*learned(traces), *(one for one in validation if one.kept))
    ]
    parts = ["training", base.identity, said, len(learned(traces)), asked]
    return content_hash(*parts, *(() if start is None else (start.hash,)))


class _Training:
    """One training, from its beginning or from a checkpoint."""

    def __init__(
        self,
        base: Base,
        options: TrainOptions,
        folder: Path,
        traces: Sequence[Trace],
        validation: Sequence[Trace],
        start: Trained | None,
        on_progress: OnProgress,
    ) -> None:
        self._base, self._options, self._folder = base, options, folder
        self._start = start
        self._told = on_progress
        self.tuned: Tuned = tuned(base, options)
        longest = options.row_tokens
        self._lot: Lot = encoded(traces, self.tuned.tokenizer, longest=longest)
        if not self._lot.rows:
            raise UsageError(
                "there is nothing to learn from: no trace fits",
                cause=self._lot.left_out or "no trace was given",
                hint="a larger row_tokens, or a program with shorter questions",
            )
        tested = encoded(validation, self.tuned.tokenizer, longest=longest).rows
        mixed = random.Random(options.seed).sample(list(tested), len(tested))
        self._tested = mixed[: options.validation_rows]
        self._an_epoch = math.ceil(len(self._lot.rows) / options.batch_rows)
        self.steps = self._an_epoch * options.epochs
        self.saved = 0
        """The step of the last checkpoint."""
        self._saved_at = time.monotonic()
        self._validating = 0.0
        """Seconds that the longest validation took."""
        self.standing: TrainingState
        self._weights = self.tuned.weights()
        self._best = self._weights
        self._optimiser: Any = None
        self._began: TrainingState

    def begin(self, found: Checkpoint | None, fingerprint: str) -> None:
        """At the beginning, or where a checkpoint stands."""
        import torch  # noqa: PLC0415  of the extra `train`

        self._optimiser = torch.optim.AdamW(self._weights.values(), weight_decay=0.0)
        if found is None:
            self.standing = TrainingState(fingerprint)
            (self._folder / LOSSES).write_text("")
            if self._start is not None:
                self._take(self._start)
            self._best = self._copied()
            self._save()
        else:
            self.standing, self.saved = found.standing, found.standing.step
            self._resume(found)
            self._cut_losses()
        self._began = self.standing

    def _take(self, start: Trained) -> None:
        """Begin with the weights of an adapter. Raises `UsageError` where they cannot be read."""
        import torch  # noqa: PLC0415  of the extra `train`

        known = start.tensors(self._base)
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(known[name])

    def run(self) -> End:
        """Step by step to the end."""
        options, found = self._options, self.standing
        if found.end is not None and not (found.allowed and options.allowed > found.allowed):
            return found.end
        self.standing = replace(found, end=None, allowed=None)
        every = max(1, self._an_epoch // options.validations)
        clock = time.monotonic()
        spent = self.standing.seconds
        if self._start is not None and self._tested and self.standing.best_loss is None:
            self._validate()  # what it begins with is given up for what is better alone
        for step in range(self.standing.step + 1, self.steps + 1):
            rows = self._rows(step)
            loss = self._step(rows, step)
            self.standing = replace(
                self.standing,
                step=step,
                loss=loss,
                tokens=self.standing.tokens + sum(len(one.tokens) for one in rows),
                seconds=spent + time.monotonic() - clock,
            )
            validation = None
            over = self._over()
            if self._tested and (step % every == 0 or step == self.steps or over):
                validation = self._validate()
                self.standing = replace(self.standing, seconds=spent + time.monotonic() - clock)
            told = self._noted(loss, validation)
            end = self._end(over=over)
            # A checkpoint of the end says so: from it no further step is taken.
            allowed = options.allowed if end == "time" else None
            self.standing = replace(self.standing, end=end, allowed=allowed)
            due = time.monotonic() - self._saved_at >= options.checkpoint_seconds
            if due or step % options.checkpoint_steps == 0 or end is not None:
                self._save()
            self._told(told)
            if end is not None:
                return end
        return "epochs"

    def _end(self, *, over: bool) -> End | None:
        """Why a training ends after its last step, None where it does not."""
        if self.standing.worse >= self._options.patience:
            return "patience"
        if self.standing.step == self.steps:
            return "epochs"
        return "time" if over else None

    def _over(self) -> bool:
        """Whether the time is over, but for the last validation."""
        limit = self._options.max_seconds
        return limit is not None and self.standing.seconds + self._validating > limit

    def keep(self, adapters: Path, end: End) -> Trained:
        """Write the best weights down."""
        import torch  # noqa: PLC0415  of the extra `train`

        standing = self.standing
        return keep(
            adapters,
            self._folder,
            self._best if self._tested else self._weights,
            base=self._base,
            options=self._options,
            said={
                "fingerprint": standing.fingerprint,
                "start": self._start.hash if self._start is not None else "",
                "train_rows": len(self._lot.rows),
                "validation_rows": len(self._tested),
                "left_out": self._lot.left_out,
                "steps": standing.step,
                "best_step": standing.best_step if self._tested else standing.step,
                "loss": standing.loss,
                "validation_loss": standing.best_loss,
                "end": end,
                "tokens": standing.tokens,
                "seconds": round(standing.seconds, 3),
                "device": self.tuned.device,
                "threads": torch.get_num_threads(),
                "products": self.tuned.products,
                "libraries": {one: importlib.metadata.version(one) for one in LIBRARIES},
            },
        )

    # --- one step --------------------------------------------------------------------------------

    def _rows(self, step: int) -> list[Encoded]:
        """What a step learns from: the order hangs on the seed and the epoch alone."""
        epoch, place = divmod(step - 1, self._an_epoch)
        order = list(range(len(self._lot.rows)))
        random.Random(f"{self._options.seed}/{epoch}").shuffle(order)
        first = place * self._options.batch_rows
        return [self._lot.rows[one] for one in order[first : first + self._options.batch_rows]]

    def _step(self, rows: Sequence[Encoded], step: int) -> float:
        """Learn from some rows; gives their loss a token. Raises `TrainingError`."""
        import torch  # noqa: PLC0415  of the extra `train`

        options, device = self._options, self.tuned.device
        learned_tokens = sum(one.learned for one in rows)
        for group in self._optimiser.param_groups:
            group["lr"] = options.learning_rate * self._share(step)
        self._optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for pack in packs(rows, tokens=options.batch_tokens, device=device):
            total += self.tuned.learn(pack, of=learned_tokens)
        loss = total / learned_tokens
        norm = torch.nn.utils.clip_grad_norm_(self._weights.values(), options.clip)
        if not (math.isfinite(loss) and math.isfinite(float(norm))):
            raise TrainingError(
                f"training broke down in step {step}: its loss is {loss}",
                cause="its steps are too large, or a weight of the base is no number",
                hint=f"a learning_rate below {options.learning_rate:g};"
                f" the checkpoint after step {self.saved} is kept in {self._folder}",
            )
        self._optimiser.step()
        return loss

    def _share(self, step: int) -> float:
        """The learning rate of a step as a share of the highest.

        It rises and falls with the steps or, where that ends first, with the time.
        """
        options = self._options
        done = step / self.steps
        if options.max_seconds is not None:
            done = max(done, min(1.0, self.standing.seconds / options.max_seconds))
        if done < options.warmup:
            return done / options.warmup
        fallen = (done - options.warmup) / (1 - options.warmup)
        return _LEAST + (1 - _LEAST) * 0.5 * (1 + math.cos(math.pi * fallen))

    def _validate(self) -> float:
        options, device, began = self._options, self.tuned.device, time.monotonic()
        every = packs(self._tested, tokens=options.batch_tokens, device=device)
        total = sum(self.tuned.loss(pack) for pack in every)
        loss = total / sum(one.learned for one in self._tested)
        self.standing = judged(self.standing, loss)
        if self.standing.best_step == self.standing.step:
            self._best = self._copied()
        self._validating = max(self._validating, time.monotonic() - began)
        return loss

    def _noted(self, loss: float, validation: float | None) -> Progress:
        """How far it is, which is a line of the curve."""
        standing, began = self.standing, self._began
        seconds, tokens = standing.seconds - began.seconds, standing.tokens - began.tokens
        left = seconds / (standing.step - began.step) * (self.steps - standing.step)
        if self._options.max_seconds is not None:
            left = min(left, max(0.0, self._options.max_seconds - standing.seconds))
        told = Progress(
            step=standing.step,
            steps=self.steps,
            loss=loss,
            validation_loss=validation,
            tokens_per_second=tokens / seconds if seconds else 0.0,
            eta_seconds=left,
        )
        line = {"step": standing.step, "loss": loss, "validation_loss": validation,
                "tokens": standing.tokens, "seconds": round(standing.seconds, 3)}  # fmt: skip
        with (self._folder / LOSSES).open("a") as file:
            file.write(json.dumps(line) + "\n")
        return told

    # --- what is written down --------------------------------------------------------------------

    def _copied(self) -> dict[str, Any]:
        return {name: one.detach().clone() for name, one in self._weights.items()}

    def _save(self) -> None:
        import torch  # noqa: PLC0415  of the extra `train`

        moments = {
            f"{name}:{moment}": torch.as_tensor(value)
            for name, weight in self._weights.items()
            for moment, value in self._optimiser.state.get(weight, {}).items()
        }
        state = torch.get_rng_state()
        save(self._folder, Checkpoint(self.standing, self._weights, self._best, moments, state))
        self.saved, self._saved_at = self.standing.step, time.monotonic()

    def _resume(self, found: Checkpoint) -> None:
        import torch  # noqa: PLC0415  of the extra `train`

        device = self.tuned.device
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(found.weights[name])
        self._best = {name: one.to(device) for name, one in found.best.items()}
        for name, value in found.optimiser.items():
            weight, _, moment = name.rpartition(":")
            # Counts of steps stay on the processor, as the optimiser keeps them.
            kept = value if moment == "step" else value.to(device)
            self._optimiser.state[self._weights[weight]][moment] = kept
        torch.set_rng_state(found.random)

    def _cut_losses(self) -> None:
        """Without the steps after the checkpoint, which are taken again."""
        path = self._folder / LOSSES
        lines = path.read_text().splitlines() if path.is_file() else []
        whole = [line for line in lines if line.endswith("}")]
        kept = [line for line in whole if json.loads(line)["step"] <= self.standing.step]
        path.write_text("".join(f"{line}\n" for line in kept))


def _end(folder: Path, trained: Trained, fingerprint: str, allowed: float | None) -> None:
    """Write down, at once, which adapter a training gave, and what time ended it, if that did."""
    said = {"hash": trained.hash, "fingerprint": fingerprint, "allowed": allowed}
    new = folder / f"{_ENDED}.new"
    new.write_text(json.dumps(said))
    new.replace(folder / _ENDED)


def _ended(
    folder: Path, adapters: Path, base: Base, fingerprint: str, options: TrainOptions
) -> Trained | None:
    """The adapter of a training that has ended, where it is still whole. Raises `TrainingError`.

    None where its time ended it and these options allow more.
    """
    path = folder / _ENDED
    if not path.is_file():
        return None
    try:
        said = json.loads(path.read_bytes())
        name, ended = str(said["hash"]), said["fingerprint"]
        allowed = said.get("allowed")
        more = allowed is not None and options.allowed > allowed
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{path} cannot be read",
            cause=f"{type(error).__name__}: {error}",
            hint=f"rm {path} ends it again, from its last checkpoint",
        ) from error
    if ended != fingerprint or more:
        return None
    try:
        return whole(adapters, name, base)
    except UsageError:
        return None  # its last checkpoint gives it once more


@contextmanager
def _repeatable(device: str) -> Iterator[None]:
    """On a processor, only ways to compute that give the same each time."""
    import torch  # noqa: PLC0415  of the extra `train`

    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(device == "cpu")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
