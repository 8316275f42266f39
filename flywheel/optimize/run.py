"""Running a program over rows: what it answers to each, what that is worth, and what it took.

An answer that cannot be read is worth nothing, and says why; so is a question that the model cannot
take. What says nothing of the program (an outage, a key, a budget, a damaged store) is never a
verdict: it is raised as `Stopped`, which no program and no optimiser swallows. What a metric does
not know stays unknown.

Programs run some rows ahead of the measuring, so that models and tests are busy at once.
"""

from __future__ import annotations

import inspect
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flywheel.core.errors import FlywheelError, LMError, UsageError
from flywheel.lm import OF_REQUESTS, Failure, Reply, kind_of
from flywheel.lm.bridge import dspy, listening
from flywheel.programs import Answer, Case, Row, Score, answer_of

AHEAD = 16
"""Answers that wait to be measured, and those that are measured at once."""
POLL_SECONDS = 0.5
"""How long to wait before an interrupt is looked for: another thread may have been told of it."""
UNREADABLE, RAISED = "unreadable", "raised"
"""Why a program gave no answer, beside what models say: the answer has another form than it was
asked for, or the program itself has a mistake."""

_WORTHLESS = frozenset({Failure.CONTEXT_LENGTH, Failure.CONTENT_FILTER})
"""Failures that are the outcome of a program: it asked what the model cannot take."""

Measure = Callable[[Case, Answer], Score]
"""What an answer is worth. Raises `UsageError` where the metric is wrong."""


class Stopped(BaseException):
    """Something that says nothing of the program ended the work; it is no `Exception`."""

    def __init__(self, error: FlywheelError) -> None:
        super().__init__(error.message)
        self.error = error
        """What ended it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a program answered to one row, and what that is worth."""

    example_id: str
    """The row's example."""
    text: str
    """The answer as it came, empty where there is none."""
    code: str | None
    """The definition that it holds, None where it holds none."""
    value: float | None
    """From 0 to 1, None where it is not known."""
    reason: str
    """Why, in a few words."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Figures that the value is made of."""
    failure: str = ""
    """Why there is no answer: `unreadable`, `raised`, `context-length`, `content-filter`; empty
    where there is one."""
    seconds: float = 0.0
    """Time that the program took, without the measuring."""
    input_tokens: int = 0
    """Tokens that its models have read, those of kept answers included."""
    output_tokens: int = 0
    """Tokens that they have written."""
    calls: tuple[str, ...] = ()
    """Ids of its calls in the ledger."""


def outcome(module: dspy.Module, row: Row, measure: Measure) -> Outcome:
    """One program on one row, with DSPy's settings as they are.

    Raises `Stopped`, and `UsageError` where the metric is wrong.
    """
    return _measured(_answered(module, row), row, measure)


def outcomes(
    module: dspy.Module, rows: Iterable[Row], measure: Measure, *, threads: int
) -> Iterator[Outcome]:
    """One program on rows, in the order in which they are done, with DSPy's settings as they are.

    `threads` run the program, as many as `AHEAD` measure; no more rows are taken than these need.
    Raises what `outcome` raises.
    """
    jobs = (Job(module, row, copy_context()) for row in rows)
    for done in work(jobs, measure, threads=threads):
        yield done.outcome


@dataclass(frozen=True, slots=True)
class Job:
    """One program that is to be run on one row."""

    module: dspy.Module
    """The program."""
    row: Row
    """The row."""
    context: Context
    """What DSPy's settings are for it: threads of a pool have none."""
    of: str = ""
    """Whose it is, for who asks."""


@dataclass(frozen=True, slots=True)
class Done:
    """A job, and what came of it."""

    job: Job
    """The job."""
    outcome: Outcome
    """What came of it."""


def work(
    jobs: Iterable[Job],
    measure: Measure,
    *,
    threads: int,
    together: Callable[[Job], str] = lambda job: "",
) -> Iterator[Done]:
    """Do jobs, of several programs where there are several; see `outcomes`.

    Jobs that follow each other and for which `together` says the same are all handed to the
    measuring before the next ones are.
    """
    source = iter(jobs)
    asked: deque[tuple[Job, Future[_Answered]]] = deque()
    measured: set[Future[Done]] = set()
    # Left by hand: the end of a block would wait for all that is under way.
    asking = ThreadPoolExecutor(threads, thread_name_prefix="flywheel-program")
    judging = ThreadPoolExecutor(AHEAD, thread_name_prefix="flywheel-measure")
    try:
        while True:
            while len(asked) < threads + AHEAD and (job := next(source, None)) is not None:
                run = job.context.copy().run  # a context is entered by one thread at a time
                asked.append((job, asking.submit(run, _answered, job.module, job.row)))
            # Looked for before any is taken: one that is done in between must not be waited for.
            waiting = [future for _, future in asked if not future.done()]
            for job, said in _taken(asked, AHEAD - len(measured), together):
                measured.add(judging.submit(_done, job, said, measure))
            if not asked and not measured:
                return
            under_way: list[Future[Any]] = [*waiting, *measured]
            wait(under_way, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            ended = {future for future in measured if future.done()}
            measured -= ended
            # What is known goes before what ended the work.
            for future in sorted(ended, key=lambda one: one.exception() is not None):
                yield future.result()
    finally:
        for pool in (asking, judging):
            pool.shutdown(wait=False, cancel_futures=True)


def _taken(
    asked: deque[tuple[Job, Future[_Answered]]], room: int, together: Callable[[Job], str]
) -> list[tuple[Job, _Answered]]:
    """Take out what may be measured: what is answered of the first jobs that belong together."""
    found: list[tuple[Job, _Answered]] = []
    waiting = []
    first = together(asked[0][0]) if asked else ""
    while asked and len(found) < room and together(asked[0][0]) == first:
        job, future = asked.popleft()
        if future.done():
            found.append((job, future.result()))
        else:
            waiting.append((job, future))
    asked.extendleft(reversed(waiting))
    return found


def _done(job: Job, answered: _Answered, measure: Measure) -> Done:
    return Done(job, _measured(answered, job.row, measure))


@dataclass(frozen=True, slots=True)
class _Answered:
    """What a program said to one row, or why it said nothing."""

    answer: Answer
    failure: str
    reason: str
    seconds: float
    heard: _Heard


class _Heard:
    """What a program's models said while it worked at one row; several threads may tell it."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.failures: list[FlywheelError] = []
        self._lock = threading.Lock()

    def __call__(self, said: Reply | FlywheelError) -> None:
        with self._lock:
            if isinstance(said, FlywheelError):
                self.failures.append(said)
            else:
                self.replies.append(said)

    def stopped_by(self) -> FlywheelError | None:
        """What says nothing of the program, whatever the program has made of it."""
        return next((one for one in self.failures if kind_of(one) not in OF_REQUESTS), None)

    @property
    def finish(self) -> str:
        """How the last answer ended, empty where there was none."""
        return self.replies[-1].response.finish if self.replies else ""


def _answered(module: dspy.Module, row: Row) -> _Answered:
    """Run the program on one row. Raises `Stopped`."""
    heard, began = _Heard(), time.monotonic()
    answer, failure, reason = Answer("", None), "", ""
    try:
        # The trace is this row's alone: the one that is there by default grows for ever.
        with listening(heard), dspy.context(trace=[]):
            answer = answer_of(module(**_inputs(module, row)))
    except (Exception, SystemExit) as error:  # noqa: BLE001  its outcome, told below
        answer, failure, reason = _said(error, heard)
    if (stopped := heard.stopped_by()) is not None:
        raise Stopped(stopped)
    return _Answered(answer, failure, reason, time.monotonic() - began, heard)


def _inputs(module: dspy.Module, row: Row) -> dict[str, str]:
    """The fields of a row that a program takes by name."""
    names = inspect.signature(type(module).forward).parameters
    return row.inputs(tuple(name for name in names if name in row.fields))


def _said(error: Exception | SystemExit, heard: _Heard) -> tuple[Answer, str, str]:
    """What came of a program that raised: an answer, the kind of its failure, and why."""
    last = heard.failures[-1] if heard.failures else None
    match error:
        case dspy.AdapterParseError() if heard.finish == "refused":
            refused = Failure.CONTENT_FILTER.value
            return Answer(error.lm_response, None), refused, "the model turned the question down"
        case dspy.AdapterParseError():
            return Answer(error.lm_response, None), UNREADABLE, unread(error, heard.finish)
        case dspy.LMError() if last is not None and (kind := kind_of(last)) in _WORTHLESS:
            return Answer("", None), kind.value, last.cause or last.message
        case dspy.LMError():
            told = LMError(str(error), hint="see the profile of the program's model")
            raise Stopped(last or told) from error
        case FlywheelError():
            raise Stopped(error) from error
        case _:
            return Answer("", None), RAISED, _place(error)


def unread(error: dspy.AdapterParseError, finish: str = "") -> str:
    """Why an answer has not the form that was asked for; `finish` is how it ended, where known."""
    there = error.parsed_result or {}
    missing = [name for name in error.signature.output_fields if name not in there]
    told = f"no {', '.join(missing)} in the answer" if missing else "the answer has another form"
    return f"{told}, which was cut at its limit" if finish == "length" else told


def _place(error: BaseException) -> str:
    """Where a program raised, as a person looks for it: the last line outside of DSPy."""
    frames = traceback.extract_tb(error.__traceback__)
    libraries = str(Path(dspy.__file__).parent.parent)
    own = [one for one in frames if not one.filename.startswith(libraries)]
    last = (own or frames)[-1]
    said = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    return f"{Path(last.filename).name}:{last.lineno}: {said}"


def _measured(answered: _Answered, row: Row, measure: Measure) -> Outcome:
    """What an answer is worth. Raises `Stopped`, and `UsageError` where the metric is wrong."""
    score = Score(0.0, answered.reason)
    if not answered.failure:
        try:
            score = measure(row.case, answered.answer)
        except UsageError:
            raise
        except FlywheelError as error:
            raise Stopped(error) from error
    replies = answered.heard.replies
    return Outcome(
        example_id=row.id,
        text=answered.answer.text,
        code=answered.answer.code,
        value=score.value,
        reason=score.reason,
        parts=dict(score.parts),
        failure=answered.failure,
        seconds=answered.seconds,
        input_tokens=sum(one.response.usage.input_tokens or 0 for one in replies),
        output_tokens=sum(one.response.usage.output_tokens or 0 for one in replies),
        calls=tuple(one.call_id for one in replies),
    )
