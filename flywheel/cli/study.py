"""What a study shows while it runs: its trials, the best so far, what it took and what is left."""

from __future__ import annotations

import contextlib
import difflib
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from flywheel.cli.display import Line, for_a_person, live
from flywheel.cli.session import Session, visible
from flywheel.core import events

if TYPE_CHECKING:
    from flywheel.programs import Estimate

LINES = 6
"""Lines of a change of instructions that are shown while it goes on."""
_WIDTH = 100
"""Characters of such a line."""


def told(one: Estimate) -> str:
    """A score, for a person."""
    if one.value is None:
        return "not known"
    text = f"{one.value:.3f} (n {one.n}"
    return text + (")" if one.low is None else f", {one.low:.3f} to {one.high:.3f})")


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What is other in instructions: lines taken out and put in, by step."""
    found = []
    for name, text in after.items():
        old = before.get(name, "")
        if old == text:
            continue
        found.append(f"{name}:")
        lines = difflib.ndiff(old.splitlines(), text.splitlines())
        found += [f"  {line}" for line in lines if line[:1] in "-+"]
    return found


class Shown:
    """A subscriber: each trial is a line, what is under way is a live one."""

    def __init__(self, session: Session, line: Line) -> None:
        self._session, self._line = session, line
        self._first: dict[str, str] = {}
        self._baseline: float | None = None
        self._best = ""
        self._trials: int | None = None
        self._over_at: float | None = None

    def __call__(self, event: events.Event) -> None:
        """Tell an event."""
        match event:
            case events.StudyStarted():
                # A spin tells several studies, one after the other.
                self._baseline, self._best, self._over_at = None, "", None
                self._first, self._trials = dict(event.instructions), event.trials
                self._session.say(
                    f"[dim]{event.module} by {event.optimizer}: learns from {event.train} rows,"
                    f" scored by {event.metric} on {event.validation}"
                    + (
                        f", about {event.trials} trial{'s' * (event.trials > 1)}"
                        if event.trials
                        else ""
                    )
                    + f" (study {event.study_id})[/dim]"
                )
                self._line.begin("the program as it was")
            case events.TrialProgressed():
                self._progress(event)
            case events.TrialEnded():
                self._trial(event)
            case events.Warned(message=message, hint=hint):
                self._session.warn(message, hint)
            case events.PhaseProgressed(phase=phase, detail=detail):
                self._line.show(f"{phase}: {detail}", 0, None)
            case _:
                pass

    def _trial(self, event: events.TrialEnded) -> None:
        from rich.markup import escape

        from flywheel.programs import Estimate

        score = told(Estimate(event.value, event.n, event.low, event.high))
        kind = "" if event.phase == "full" else f" on a {event.phase}"
        if event.number == 0:
            self._baseline = event.value
        better = event.best and (event.value or 0.0) > (self._baseline or 0.0)
        mark = "[green]★[/green]" if better else "[dim]·[/dim]"
        usd = "" if event.usd is None else f" ${event.usd:.4f},"
        tokens = ", ".join(f"{name} {count:,}" for name, count in sorted(event.tokens.items()))
        self._session.say(
            f"{mark} trial {event.number}{kind} {score} · {event.demos} demos"
            f" [dim]· {event.seconds:.0f} s · so far{usd} tokens: {tokens or 'none'}[/dim]"
        )
        if better:
            self._best = f" · best {event.value:.3f}"
        if event.best:
            for line in changes(self._first, event.instructions)[:LINES]:
                cut = f"{line[:_WIDTH]}…" if len(line) > _WIDTH else line
                self._session.say(f"    [dim]{escape(visible(cut))}[/dim]")
        left = event.left_seconds
        self._over_at = None if left is None else time.monotonic() + left

    def _progress(self, event: events.TrialProgressed) -> None:
        of = f" of {self._trials}" if self._trials else ""
        text = f"trial {event.number}{of}, {event.phase}"
        unit = "steps" if event.phase == "tune" else "rows"
        if event.total:
            text += f": {event.done} of {event.total} {unit}"
        elif event.phase != "tune":
            text += f": {event.done} answer{'s' * (event.done != 1)}"
        text += f" · {event.detail}" if event.detail else ""
        text += self._best + self._left(event.left_seconds)
        self._line.show(text, event.done, event.total or None)

    def _left(self, told: float | None) -> str:
        """What is said to be left, or was at the end of the last trial, less the time since."""
        left = told
        if left is None and self._over_at is not None:
            left = self._over_at - time.monotonic()
        return f" · about {for_a_person(left)} left" if left is not None and left > 0 else ""


@contextlib.contextmanager
def watched(session: Session) -> Iterator[Shown]:
    """A subscriber that shows a study for as long as the block runs."""
    with live(session) as bar:
        yield Shown(session, Line(session, bar))
