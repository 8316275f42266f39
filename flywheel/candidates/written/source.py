"""Candidates that a language model writes: questions go out ahead, answers come back as they may.

Each covered function is asked for in each mode, several times where that is wanted. What an answer
is worth the tests say; an answer that is none is counted by its reason. A model that is out makes
the source wait, and nothing of that is a verdict.
"""

from __future__ import annotations

import concurrent.futures
import enum
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from flywheel.candidates.language import PythonLanguage
from flywheel.candidates.module import Edit
from flywheel.candidates.mutate import candidate
from flywheel.candidates.sample import NotReady
from flywheel.candidates.written.answer import Rejected, edit_of
from flywheel.candidates.written.mode import Mode
from flywheel.candidates.written.outline import outline
from flywheel.candidates.written.target import Target, callers, header, lines, numbered, targets
from flywheel.core.errors import BudgetError, LMError
from flywheel.core.records import Candidate
from flywheel.lm import OF_BATCHES, OF_REQUESTS, Failure, Reply, Request

NAME = "written"
"""What the candidates say they come from."""
AHEAD = 8
"""Questions that are put before their answers are needed."""
WAIT_SECONDS = 0.25
"""How long a draw waits for an answer."""
HOPELESS = 5
"""Questions that fail, before any is answered, after which it is no matter of the question."""

Asking = Callable[[Request, Mode], "concurrent.futures.Future[Reply]"]
"""Puts a question of a mode to the model."""


@dataclass(frozen=True, slots=True)
class _Question:
    target: Target
    mode: Mode
    request: Request


_Asked = tuple[_Question, "concurrent.futures.Future[Reply]"]


class WrittenSource:
    """Candidates of one repository's functions, written by one model."""

    def __init__(
        self,
        contents: Mapping[str, bytes],
        *,
        ask: Asking,
        modes: Sequence[Mode],
        covered: Callable[[str], Set[int] | None],
        seed: int,
        samples: int = 1,
        families: Sequence[str] = (),
        context: int = 0,
    ) -> None:
        """`families` are kinds of bugs that are wanted, in words, the most wanted first.

        `context` are the tokens of the repository's outline that every question begins with.
        """
        self.made = 0
        """Answers that came back."""
        self.pruned: Counter[str] = Counter()
        """Reason -> answers that made no candidate."""
        self.by_mode: dict[str, Counter[str]] = {mode.name: Counter() for mode in modes}
        """Mode -> `asked`, `answered`, `drawn`, and the reasons."""
        self.out_of_budget = False
        """Whether it ended because no more may be spent."""
        self._contents = contents
        self._ask = ask
        self._covered = covered
        self._families = families
        shared = outline(contents, tokens=context)
        # First what all questions share: caches go by what a text begins with.
        self._systems = {
            mode.name: f"{shared}\n\n{mode.system}" if shared else mode.system for mode in modes
        }
        self._language = PythonLanguage()
        self._pruner = self._language.pruner()
        self._questions: Iterator[_Question] = self._all(modes, seed, samples)
        self._asked: list[_Asked] = []
        self._drawn = 0
        self._in_vain = 0
        self._failed: LMError | None = None

    def questions(self, limit: int | None = None) -> list[tuple[Request, Mode]]:
        """All that will be asked, or the first of it and then no more; before the first draw."""
        found = list(itertools.islice(self._questions, limit))
        self._questions = iter(found)
        return [(one.request, one.mode) for one in found]

    def draw(self) -> Candidate | NotReady | None:
        """The next candidate; `NotReady` while answers are awaited.

        Raises `LMError` when the model cannot be asked at all.
        """
        until, looked = time.monotonic() + WAIT_SECONDS, False
        while True:
            self._fill()
            if not self._asked:
                if self._failed is not None and not self.made and not self.out_of_budget:
                    # However few they were: none of them was answered.
                    raise self._failed
                return None
            if looked and time.monotonic() > until:
                # However fast answers come that are none, the harvest has limits to look at.
                return NotReady(self._drawn)
            looked = True
            ready = self._ready(until)
            if ready is None:
                return NotReady(self._drawn)
            question, future = ready
            try:
                reply = future.result()
            except BudgetError:
                self.out_of_budget = True
                continue
            except LMError as error:
                kind = Failure(error.failure)
                # What fails in a batch says nothing of the model, however often.
                self._in_vain += kind not in OF_BATCHES
                self._failed = error
                hopeless = self._in_vain >= HOPELESS and not self.made
                if hopeless or kind not in OF_REQUESTS | OF_BATCHES:
                    # What else is under way is left to who ends it: it may be paid for.
                    raise
                self._reject(question.mode, error.failure)
                continue
            found = self._candidate(question, reply)
            if found is not None:
                self._drawn += 1
                return found

    def report(self, drawn: Candidate, verdict: str, seconds: float) -> None:
        """Count what came of a candidate by its mode."""
        self.by_mode[drawn.operator.partition(":")[0]][verdict] += 1

    def close(self) -> None:
        """Give up what is asked."""
        for _, future in self._asked:
            future.cancel()
        self._asked.clear()

    def _all(self, modes: Sequence[Mode], seed: int, samples: int) -> Iterator[_Question]:
        found = targets(self._contents, self._covered, seed=seed)
        for sample in range(samples):
            for target in found:
                for mode in modes:
                    yield _Question(target, mode, self._request(target, mode, seed, sample))

    def _request(self, target: Target, mode: Mode, seed: int, sample: int) -> Request:
        source = self._contents[target.path]
        families = ""
        if self._families:
            families = f" Bugs of these kinds are wanted: {', '.join(self._families)}."
        values: dict[str, Any] = {
            "path": target.path,
            "numbered": numbered(target, source),
            "families": families,
            "header": header(target, source),
            "callers": callers(target, self._contents),
        }
        return Request(
            messages=mode.opening(values),
            system=self._systems[mode.name],
            schema=mode.schema(lines(target, source)),
            max_tokens=mode.tokens(values["numbered"]),
            seed=seed + sample,
            sample=sample,
        )

    def _ready(self, until: float) -> _Asked | None:
        """A question that is answered, or failed, the first of those that are; None for none.

        What is asked, and in which order, does not depend on which answer comes first.
        """
        concurrent.futures.wait(
            [future for _, future in self._asked],
            timeout=max(0.0, until - time.monotonic()),
            return_when=concurrent.futures.FIRST_COMPLETED,
        )
        for one in self._asked:
            if one[1].done():
                self._asked.remove(one)
                return one
        return None

    def _fill(self) -> None:
        while len(self._asked) < AHEAD and not self.out_of_budget:
            question = next(self._questions, None)
            if question is None:
                return
            self.by_mode[question.mode.name]["asked"] += 1
            self._asked.append((question, self._ask(question.request, question.mode)))

    def _candidate(self, question: _Question, reply: Reply) -> Candidate | None:
        target, mode = question.target, question.mode
        source = self._contents[target.path]
        self.made += 1
        self.by_mode[mode.name]["answered"] += 1
        made = edit_of(reply.response, mode, target, source)
        if isinstance(made, Rejected):
            self._reject(mode, made.value)
            return None
        return self._pruned(mode, target.path, source, made, reply)

    def _pruned(
        self, mode: Mode, path: str, source: bytes, made: Edit, reply: Reply
    ) -> Candidate | None:
        maker = f"{mode.name}:{reply.model}@{mode.version}"
        reason: enum.StrEnum | None
        try:
            site = self._language.site_of(path, source, made, maker)
            reason = self._pruner.reason(path, source, site, self._covered(path))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            # Code may be nested deeper than anything that looks at it can follow.
            reason = Rejected.NOT_PYTHON
        if reason is not None:
            self._reject(mode, reason.value)
            return None
        self.by_mode[mode.name]["drawn"] += 1
        return candidate(path, source, site, made_by=NAME)

    def _reject(self, mode: Mode, reason: str) -> None:
        self.pruned[reason] += 1
        self.by_mode[mode.name][reason] += 1
