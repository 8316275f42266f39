"""The funnel: how many rows each stage kept, and how many it dropped, by named reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Stage:
    """What one stage did."""

    name: str
    """`quality`, `licence` … as in the recipe."""
    rows: int
    """Rows that came in."""
    dropped: dict[str, int]
    """Rows that went no further, by reason, most first."""

    @property
    def kept(self) -> int:
        """Rows that went on."""
        return self.rows - sum(self.dropped.values())


@dataclass(slots=True)
class Funnel:
    """The stages in their order; what one keeps is what the next gets."""

    stages: list[Stage] = field(default_factory=list)

    def add(self, name: str, rows: int, reasons: Iterable[str]) -> Stage:
        """Note a stage: the rows that came in, and the reason of each that was dropped."""
        counts = Counter(reasons)
        dropped = dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))
        stage = Stage(name, rows, dropped)
        self.stages.append(stage)
        return stage

    @property
    def kept(self) -> int:
        """Rows that passed all stages so far."""
        return self.stages[-1].kept if self.stages else 0

    @property
    def emptied(self) -> Stage | None:
        """The stage that dropped the last rows, None where some are left or none ever came."""
        return next((one for one in self.stages if one.rows and not one.kept), None)
