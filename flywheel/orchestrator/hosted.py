"""The port `Tuner`: the student's model, trained by the provider that serves it, for money.

What a training costs no provider's API tells, and one that has begun cannot be stopped at a limit.
So it is begun only where a limit is set and a price is said, and where the most that it can cost is
within what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.core.errors import BudgetError, UsageError
from flywheel.core.events import EventBus, Warned
from flywheel.core.identity import content_hash
from flywheel.core.lock import locked_if_free
from flywheel.lm import (
    Call,
    Engine,
    Message,
    Profile,
    Purpose,
    Request,
    Secrets,
    Spending,
    Usage,
    price_of,
)
from flywheel.orchestrator.models import with_model
from flywheel.orchestrator.tuning import Weights
from flywheel.registry import Tuned

if TYPE_CHECKING:
    from flywheel.optimize.finetune import Trace
    from flywheel.optimize.finetune.hosted import HostedTraining, Job, Look
    from flywheel.optimize.stop import Stop

CODE = "hosted-training"
"""Of what a person is told of a training that is paid for."""
_KEPT = "hosted"
"""Folder of what is known of trainings, beside those of trainings on this machine."""


def tunes(profile: Profile) -> bool:
    """Whether a profile's model can be tuned by its provider, in a way that DSPy knows."""
    from flywheel.optimize.finetune import hosted  # noqa: PLC0415  DSPy, for a second

    return hosted.tunes(profile)


class HostedTuning:
    """Has models tuned for one study; the engine learns each as a profile of its own."""

    def __init__(
        self,
        engine: Engine,
        purpose: Purpose,
        stop: Stop,
        bus: EventBus,
        *,
        ledger: str,
        max_usd: float | None,
        max_tokens: int | None,
        seed: int,
        on_look: Callable[[Look], None],
    ) -> None:
        """`purpose` is the student's, `ledger` that of a training in the ledger.

        `max_usd` and `max_tokens` are the engine's limits.
        """
        self._engine, self._purpose, self._stop, self._bus = engine, purpose, stop, bus
        self._ledger, self._seed, self._looked = ledger, seed, on_look
        self._max_usd, self._max_tokens = max_usd, max_tokens
        self._profile = engine.chain(purpose.role, purpose.profile)[0]
        self._trained: dict[str, tuple[Tuned, Job]] = {}

    def check(self) -> None:
        """See the port; raises `TrainingError` where the provider gives no answer."""
        # Whether it can be done at all comes before what it costs.
        self._training().check()
        settings = self._profile.settings
        if self._max_usd is None:
            raise UsageError(
                f"a training of {settings.model} is paid for, and nothing limits what it may cost",
                hint="--max-usd USD; a training that may cost more is not begun",
            )
        self._price()
        # The provider's name of what comes of it is not known yet; its price is by the base's.
        comes = settings.model_copy(update={"model": _tuned(self._profile)})
        if price_of(Profile(self._profile.name, comes), Usage(0, 0, 0, 0)) is None:
            raise UsageError(
                f"a limit in dollars needs the price of {comes.model}, and it is not known",
                hint=f"input_price and output_price in [lm.{self._profile.name}]",
            )

    def tune(self, traces: Sequence[Trace], validation: Sequence[Trace], folder: Path) -> Any:
        """See the port. `validation` is not sent: the study scores what comes of it.

        So it is kept beside `folder` and by what is sent alone: other rows to validate on are no
        reason to pay for it again. Raises `BudgetError` where it may cost more than is left.
        """
        from flywheel.lm.bridge import language_model  # noqa: PLC0415  DSPy, for a second
        from flywheel.optimize.finetune.hosted import chats  # noqa: PLC0415
        from flywheel.optimize.finetune.trace import learned  # noqa: PLC0415

        rows = chats(learned(traces))
        kept = folder.parent / _KEPT / content_hash(rows)
        with locked_if_free(kept / "lock") as free:
            if not free:
                raise UsageError(
                    "another process waits for the same training",
                    hint="wait for it: what comes of it is found, and not paid for again",
                )
            job = self._training().run(
                rows,
                kept,
                seed=self._seed,
                before=lambda: self._afford(rows),
                paid=lambda ended: self._paid(ended, rows),
            )
        served = self._profile.beside(job.tuned)
        name = f"{self._profile.name}-{content_hash(served)}"
        self._engine.add(name, with_model(self._profile.settings, served))
        model = language_model(self._engine, replace(self._purpose, profile=name))
        base = self._engine.server(self._purpose)
        self._trained[model.model] = Tuned(model=served, base=base, job=job.job_id), job
        return model

    def weights(self, models: Iterable[str]) -> Weights:
        """See `Tuning.weights`."""
        for one in models:
            if one in self._trained:
                tuned, job = self._trained[one]
                learned = job.model_dump(mode="json")
                return Weights(tuned=tuned, learned=learned, told=job.sentence)
        return Weights()

    # --- its steps -------------------------------------------------------------------------------

    def _training(self) -> HostedTraining:
        from flywheel.optimize.finetune.hosted import HostedTraining  # noqa: PLC0415  DSPy

        return HostedTraining(
            self._profile, Secrets(), self._stop, on_look=self._looked, on_said=self._tell
        )

    def _price(self) -> float:
        """US dollars for a million tokens trained on. Raises `UsageError` where nobody says."""
        price = self._profile.settings.training_price
        if price is None:
            raise UsageError(
                f"what training {self._profile.settings.model} costs is not known:"
                " no provider's API tells it",
                hint=f"training_price in [lm.{self._profile.name}]: US dollars for a million tokens"
                " trained on, as the provider's list of prices has it",
            )
        return price

    def _most(self, rows: Sequence[dict[str, Any]]) -> Spending:
        """What a training on rows can take at the most."""
        from flywheel.optimize.finetune.hosted import EPOCHS  # noqa: PLC0415  DSPy

        tokens = 0
        for row in rows:
            said = tuple(Message("user", one["content"]) for one in row["messages"])
            tokens += Request(said).estimated_tokens
        return Spending(EPOCHS * tokens * self._price() / 1e6, EPOCHS * tokens)

    def _afford(self, rows: Sequence[dict[str, Any]]) -> None:
        """Say what a training can cost. Raises `BudgetError` where that is not left."""
        most, spent = self._most(rows), self._engine.spent
        told = (
            f"a training of {self._profile.settings.model} on {len(rows)} answers: at most"
            f" {most.tokens:,} tokens and ${most.usd:.4f}"
        )
        usd = None if self._max_usd is None else self._max_usd - spent.usd
        tokens = None if self._max_tokens is None else self._max_tokens - spent.tokens
        if (usd is not None and most.usd > usd) or (tokens is not None and most.tokens > tokens):
            left = [] if usd is None else [f"${usd:.4f}"]
            left += [] if tokens is None else [f"{tokens:,} tokens"]
            told = f"not begun: {told}, and {' and '.join(left)} are left"
            self._tell(told)  # what ends a study early is in its summary by one word alone
            raise BudgetError(
                told,
                hint="run the same command with a higher limit; it goes on where this stopped",
            )
        self._tell(f"{told} by its training_price; once begun it is paid for to its end")

    def _paid(self, job: Job, rows: Sequence[dict[str, Any]]) -> None:
        """Count what a training cost: what nobody says is for the limit the most, else unknown."""
        usd = None if job.tokens is None else job.tokens * self._price() / 1e6
        call = Call(
            # Looked at by two runs it is one.
            call_id=content_hash("hosted-training", job.address, job.job_id),
            run_id=self._purpose.run_id,
            role=self._purpose.role.value,
            purpose=self._ledger,
            profile=self._profile.name,
            model=self._profile.settings.model,
            request_key=job.job_id,
            status="ok" if job.tuned else "cancelled",
            input_tokens=job.tokens,
            output_tokens=None if job.tokens is None else 0,
            cache_read_tokens=None,
            cache_write_tokens=None,
            usd=usd,
            seconds=job.seconds or 0.0,
            streamed=False,
            started_at=datetime.now(UTC),
        )
        known = usd is not None and job.tokens is not None
        spent = Spending(usd or 0.0, job.tokens or 0) if known else self._most(rows)
        self._engine.charge(call, spent)

    def _tell(self, said: str) -> None:
        self._bus.publish(Warned(CODE, said))


def _tuned(profile: Profile) -> str:
    """What a model tuned of a profile's is called, as far as that is known before."""
    return profile.beside("ft:" + profile.model.removeprefix("ft:"))
