"""What long work shows: progress on stderr, and the words that several summaries share."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flywheel.cli.session import Session, visible
from flywheel.core.wording import number

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from flywheel.core.events import Event
    from flywheel.orchestrator import AuditProgress, Progress, Replayed


EVERY_SECONDS = 60.0
"""Time between two lines of progress where there is no terminal."""


class Line:
    """One live line, of which each text takes the place of the last; in a file one a minute."""

    def __init__(self, session: Session, bar: Bar | None) -> None:
        """Without a bar there is no terminal."""
        self._session, self._bar = session, bar
        self._task: TaskID | None = None
        self._began = self._told_at = time.monotonic()

    def begin(self, text: str) -> None:
        """Show a text, from which on the time is counted anew."""
        self._began = time.monotonic()
        if self._bar is not None and self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
        self.show(text)

    def show(self, text: str, done: int | None = None, total: int | None = None) -> None:
        """Show a text, and how much of the total is done."""
        if self._bar is None:
            self._tell(text, done, total)
            return
        if self._task is None:
            self._task = self._bar.add_task("", total=None)
        # A task that has all stops its clock, and this line goes on with what comes next.
        left = total if total is not None and (done or 0) < total else None
        self._bar.update(self._task, description=visible(text), completed=done or 0, total=left)

    def _tell(self, text: str, done: int | None, total: int | None) -> None:
        from rich.markup import escape

        now = time.monotonic()
        if now - self._told_at < EVERY_SECONDS:
            return
        self._told_at = now
        share = f" ({done / total:.0%})" if done and total and done < total else ""
        took = f" · {for_a_person(now - self._began)}"
        self._session.say(f"[dim]{escape(visible(text))}{share}{took}[/dim]")


class Display:
    """Progress on stderr: phases as lines, the loop as one live line."""

    def __init__(self, session: Session, bar: Bar | None, total: int | None) -> None:
        self._session = session
        self.line = Line(session, bar)
        """The live line."""
        self._total = total
        self._proven = 0
        self._done = 0
        self._beside = ""

    def event(self, event: Event) -> None:
        """Tell a phase or a warning."""
        from rich.markup import escape

        from flywheel.core import events

        match event:
            case events.PhaseStarted(phase="ask" | "batch" as phase, detail=detail):
                self._session.say(f"[dim]{_PHASES[phase]}: {escape(detail)}[/dim]")
            case events.PhaseStarted(phase=phase, detail=detail):
                if phase in ("environment", "baseline", "fetch", "prove"):
                    told = _UNDER_WAY.get(phase, _PHASES.get(phase, phase))
                    self.status(f"{told} {detail}".rstrip())
            case events.PhaseProgressed(phase="batch", detail=detail):
                # It goes on beside the judging, whose line it shares.
                self._beside = f" · {detail}"
            case events.PhaseProgressed(phase=phase, detail=detail):
                self.status(f"{_PHASES.get(phase, phase)}: {detail}")
            case events.PhaseEnded(phase=phase, seconds=seconds) if seconds > 0.2:
                label = _PHASES.get(phase, phase)
                self._beside = "" if phase == "batch" else self._beside
                self._session.say(f"[green]✓[/green] {escape(label)} [dim]{seconds:.1f} s[/dim]")
            case events.Warned(message=message, hint=hint):
                self._session.warn(message, hint)
            case _:
                pass

    def progress(self, progress: Progress) -> None:
        """Show how far a harvest is."""
        tally = progress.tally
        done = tally.judged + tally.known
        rate = tally.judged / progress.seconds if progress.seconds else 0.0
        share = tally.verdicts["valid"] / done if done else 0.0
        best = max(
            (
                (counts["valid"] / n, name)
                for name, counts in tally.by_operator.items()
                if (n := counts["judged"] + counts["known"]) >= 5
            ),
            default=None,
        )
        text = f"{done} judged · {tally.verdicts['valid']} valid ({share:.0%}) · {rate:.1f}/s"
        if best is not None:
            text += f" · best {best[1]} {best[0]:.0%}"
        if progress.limit and rate:
            left = max(0, progress.limit - done) / rate
            text += f" · at most {for_a_person(left)} left"
        self.status(text + self._beside, done, progress.limit or None)

    def replayed(self, result: Replayed) -> None:
        """Count one row."""
        self._done += 1
        self._proven += result.proven
        self.status(f"{self._proven} of {self._done} proven", self._done, self._total)

    def audited(self, progress: AuditProgress) -> None:
        """Show how far an audit is."""
        text = f"{progress.judged} of {progress.wanted} wrong fixes judged"
        if progress.rows:
            text += f" · {progress.rows} of {progress.total} examples done"
        self.status(text, progress.judged, progress.wanted)

    def status(self, text: str, done: int | None = None, total: int | None = None) -> None:
        """Show a line that the next one takes the place of."""
        self.line.show(text, done, total)


_PHASES = {
    "fetch": "repository",
    "environment": "test environment",
    "baseline": "baseline",
    "prove": "critic proved itself",
    "calibrate": "mistakes learned from the history",
    "judge": "judging",
    "ask": "language model",
    "batch": "batch",
    "select": "examples taken out of the store",
    "look": "rows looked at",
    "choose": "rows chosen",
    "write": "rows written",
}
_UNDER_WAY = {"prove": "critic proves itself"}
"""Phases that are called otherwise before they have ended."""


@contextlib.contextmanager
def display(session: Session, total: int | None = None) -> Iterator[Display]:
    """Progress for as long as the block runs: a live line on a terminal, else one a minute."""
    with live(session) as bar:
        yield Display(session, bar, total)


@contextlib.contextmanager
def live(session: Session) -> Iterator[Bar | None]:
    """What live lines are shown by for as long as the block runs, None where there are none."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    if session.quiet or not session.err.is_terminal:
        yield None
        return
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        console=session.err,
        transient=True,
    )
    with bar:
        yield bar


def for_a_person(seconds: float) -> str:
    """A time, in the unit that says enough."""
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"


def estimated(asked: dict[str, Any]) -> str:
    """What the questions of a summary may cost, which has an estimate."""
    ahead = asked["estimate"]
    usd = "price not known" if ahead["usd"] is None else f"${ahead['usd']:.4f}"
    told = f"{number(ahead['questions'], 'question')} and {number(ahead['kept'], 'kept answer')};"
    told += f" at most {ahead['tokens']:,} tokens, {usd}"
    return told + (" in batches" if asked["batch"] else "")
