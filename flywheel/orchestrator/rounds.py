"""Rounds of a spin: what each stage of them found, kept as JSON so that a spin goes on.

One file a round. A stage that is in it is done and is not done again; a round that is not finished
goes on with its first stage that is missing.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, model_validator

from flywheel.core.errors import StoreError, UsageError
from flywheel.lm import Spending
from flywheel.programs import Estimate

REPORT = "report.html"
"""The report's file, beside the rounds."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Stage(_Record):
    """What every stage says."""

    usd: float | None = 0.0
    """US dollars of its models, None where a price is not known."""
    tokens: int = 0
    """Tokens that they have read and written."""
    seconds: float
    """Wall time."""

    @property
    @abstractmethod
    def sentence(self) -> str:
        """What it found, for a person."""


class Spread(_Record):
    """A figure with its sample and its 95 % interval."""

    value: float | None
    """The figure, None of nothing."""
    n: int
    """Size of the sample."""
    low: float | None
    """Lower end."""
    high: float | None
    """Upper end."""

    @classmethod
    def of(cls, found: Estimate) -> Spread:
        """An estimate, as a file holds it."""
        return cls(value=found.value, n=found.n, low=found.low, high=found.high)


class Harvested(Stage):
    """What the harvests of the repositories found."""

    judged: int
    """Candidates that were run now."""
    new: int
    """Examples that are new."""
    drawn: Spread
    """Of the candidates that were run, then or now, the share that became examples."""
    exhausted: bool
    """Whether there is nothing more to be drawn of any repository."""

    @property
    def sentence(self) -> str:
        """See `Stage`."""
        more = "; there is nothing more to be drawn" if self.exhausted else ""
        return f"{self.new:,} new examples of {self.judged:,} candidates judged{more}"


class Composed(Stage):
    """The dataset that was built."""

    dataset: str | None
    """The version, None where none could be built."""
    examples: int
    """Examples that it has, of all splits."""
    train: int
    """Those that are learnt from."""
    holdout: int
    """Those that are held out."""
    problem: str
    """Why nothing can be decided by it; empty where something can."""

    @property
    def sentence(self) -> str:
        """See `Stage`."""
        if self.problem:
            return self.problem
        return f"{self.dataset}: {self.train:,} rows to learn from, {self.holdout:,} held out"


class Studied(Stage):
    """What the optimiser found."""

    study: str
    """The study, empty where there was none."""
    challenger: str | None
    """The version that it gave, None where it gave none."""
    trials: int
    """States that it scored."""

    @property
    def sentence(self) -> str:
        """See `Stage`."""
        if not self.study:
            return "not done"
        return f"{self.challenger or 'no version'}, of {self.trials} states that were scored"


class Gated(Stage):
    """What the gate said."""

    champion_score: Spread | None = None
    """The champion on the hold-out, None where it was not run."""
    challenger_score: Spread | None = None
    """The challenger on the same rows."""
    difference: float | None = None
    """Challenger less champion, None where they were not compared."""
    low: float | None = None
    """Lower end of its 95 % interval."""
    high: float | None = None
    """Upper end."""
    p_value: float | None = None
    """How often equals would differ at least so much."""
    rows: int = 0
    """Rows that are known of both."""
    compared: bool = False
    """Whether there is a verdict."""
    deployed: bool = False
    """Whether the challenger took the champion's place."""
    why: str
    """Why, or why not, for a person."""

    @property
    def sentence(self) -> str:
        """See `Stage`."""
        return f"{self.why.rstrip('.')}. {'Deployed' if self.deployed else 'The champion stays'}"


class Attempted(Stage):
    """What the deployed version made of training examples."""

    by: str
    """The version."""
    asked: int
    """Examples that it was asked to mend."""
    mended: int
    """Those that it mended."""
    bugs: int
    """Failing attempts that became examples."""
    fixes: int
    """Passing ones that became fixes."""
    stored: int = 0
    """Examples that the store had after them, whichever run of the round has found them."""

    @property
    def sentence(self) -> str:
        """See `Stage`."""
        kept = f"{self.bugs} of its failures and {self.fixes} of its fixes are new data"
        return f"{self.mended} of {self.asked} training examples mended; {kept}"


class Round(_Record):
    """One round."""

    number: int
    """From 1."""
    champion: str
    """What was deployed when it began."""
    stored: int = 0
    """Examples that the store had when it began."""
    harvested: Harvested | None = None
    """None until it is done; so are the next ones."""
    composed: Composed | None = None
    """The dataset."""
    studied: Studied | None = None
    """The optimiser."""
    gated: Gated | None = None
    """The gate."""
    attempted: Attempted | None = None
    """The attempts."""
    stopped_usd: float = 0.0
    """US dollars of stages that were stopped, and then done again."""
    stopped_tokens: int = 0
    """Their tokens."""
    study_usd: float = 0.0
    """US dollars of a study that was stopped; when it is done they are in its own sum."""
    study_tokens: int = 0
    """Its tokens."""

    @model_validator(mode="after")
    def _in_order(self) -> Round:
        every = (self.harvested, self.composed, self.studied, self.gated, self.attempted)
        done = [one is not None for one in every]
        if done != sorted(done, reverse=True):
            raise ValueError("a stage is done, and one before it is not")
        return self

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that are done."""
        every = (self.harvested, self.composed, self.studied, self.gated, self.attempted)
        return tuple(one for one in every if one is not None)

    @property
    def finished(self) -> bool:
        """Whether every stage is done."""
        return self.attempted is not None

    @property
    def deployed(self) -> str:
        """What is deployed after it."""
        won = self.gated is not None and self.gated.deployed
        challenger = self.studied.challenger if self.studied is not None else None
        return challenger if won and challenger is not None else self.champion

    @property
    def lost(self) -> bool:
        """Whether there was a verdict, and it was for the champion."""
        return self.gated is not None and self.gated.compared and not self.gated.deployed

    @property
    def fruitless(self) -> bool:
        """Whether a further round would be the same; of a finished one."""
        harvested, tried = self.harvested, self.attempted
        assert harvested is not None
        assert tried is not None
        # Not what its stages count as new: one that was stopped has forgotten what it stored.
        grown = tried.stored != self.stored
        return harvested.exhausted and not grown and self.deployed == self.champion

    @property
    def usd(self) -> float | None:
        """US dollars so far, None where a price is not known."""
        return None if any(one.usd is None for one in self.stages) else self.spent

    @property
    def spent(self) -> float:
        """The same, as far as prices are known."""
        under_way = self.study_usd if self.studied is None else 0.0
        return self.stopped_usd + under_way + sum(one.usd or 0.0 for one in self.stages)

    @property
    def tokens(self) -> int:
        """Tokens so far."""
        under_way = self.study_tokens if self.studied is None else 0
        return self.stopped_tokens + under_way + sum(one.tokens for one in self.stages)

    def stopped(self, *, spent: Spending, study: Spending) -> Round:
        """The round with what a stage has taken that is to be done again.

        `study` is what a study has taken in all its runs.
        """
        return self.model_copy(
            update={
                "stopped_usd": self.stopped_usd + spent.usd,
                "stopped_tokens": self.stopped_tokens + spent.tokens,
                "study_usd": max(self.study_usd, study.usd),
                "study_tokens": max(self.study_tokens, study.tokens),
            }
        )

    @property
    def seconds(self) -> float:
        """Wall time so far."""
        return sum(one.seconds for one in self.stages)


class Rounds:
    """The folder of a spin."""

    def __init__(self, folder: Path) -> None:
        """Opens nothing."""
        self.folder = folder
        """The folder."""

    @property
    def report(self) -> Path:
        """The report's file."""
        return self.folder / REPORT

    def __iter__(self) -> Iterator[Round]:
        """The rounds so far, the last of them perhaps not finished.

        Raises `UsageError` for a file that is none of ours.
        """
        number = 1
        while (path := self._path(number)).exists():
            try:
                found = Round.model_validate_json(path.read_bytes())
                if found.number != number:
                    raise ValueError(f"it is of round {found.number}")
            except ValueError as error:
                raise UsageError(
                    f"{path} cannot be read",
                    cause=" ".join(str(error).split("\n")[:3]),
                    hint="put a copy of it back, or remove it: the round is then done again, and"
                    " those after it",
                ) from error
            yield found
            number += 1

    def begin(self, one: Round) -> None:
        """Write a round that begins; what is left of later ones goes."""
        later = one.number + 1
        while self._path(later).exists():
            self._path(later).unlink()
            later += 1
        self.keep(one)

    def keep(self, one: Round) -> None:
        """Write a round, in place of what was known of it."""
        write(self._path(one.number), one.model_dump_json(indent=1) + "\n")

    def _path(self, number: int) -> Path:
        return self.folder / f"round-{number}.json"


@dataclass(slots=True)
class Spun:
    """What came of a spin so far."""

    spin_id: str
    """Its fingerprint."""
    module: str
    """Name of the module."""
    metric: str
    """What the gate goes by."""
    repos: tuple[str, ...]
    """Repositories."""
    folder: Path
    """Where its rounds and its report lie."""
    rounds: list[Round] = field(default_factory=list)
    """The rounds, the last of them perhaps not finished."""
    ended: str = ""
    """Empty while it goes on; `done`, `no-improvement`, `nothing-new`, `budget`, `time-limit` or
    `interrupted`."""

    @property
    def report(self) -> Path:
        """The report of the rounds that are finished."""
        return Rounds(self.folder).report

    @property
    def deployed(self) -> str:
        """What is deployed, as far as the rounds know."""
        return self.rounds[-1].deployed if self.rounds else ""

    @property
    def usd(self) -> float | None:
        """US dollars of all rounds, None where a price is not known."""
        costs = [one.usd for one in self.rounds]
        return None if None in costs else sum(one or 0.0 for one in costs)


def write(path: Path, text: str) -> None:
    """Write a file in one step: a process that is killed leaves the old one or the new one.

    Raises `StoreError` where it cannot be written.
    """
    made = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        made.write_text(text, encoding="utf-8")
        with made.open("rb") as file:
            os.fsync(file.fileno())
        made.replace(path)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written",
            cause=str(error),
            hint="Free some space and run the same command again: it goes on where it was.",
        ) from error
