"""Realism: mutants drawn as often as the repository's own fixes suggest, and how near that comes.

What the history of a commit says is kept in the cache, so a harvest that goes on reads it again and
not the history.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flywheel.candidates import (
    CALIBRATION_VERSION,
    Calibration,
    Described,
    MutationSource,
    PythonLanguage,
    distance,
    drawn_families,
    learn_mistakes,
    operator_weights,
    select_operators,
)
from flywheel.core.errors import RepositoryError
from flywheel.core.events import EventBus
from flywheel.core.identity import content_hash
from flywheel.core.settings import Settings
from flywheel.git import Blobs, is_shallow, log
from flywheel.orchestrator.workbench import Workbench, phase

MOST_COMPARED = 2_000
"""Draws that are made without calibration, to compare: they cost a millisecond each and no test."""


class Realism:
    """Makes the source of mutants, calibrated where the history allows, and tells how near it is.

    `reason` says why nothing is calibrated, empty when it is.
    """

    def __init__(
        self, bench: Workbench, settings: Settings, operators: Sequence[Described], bus: EventBus
    ) -> None:
        """`operators` are those that mutants are made with."""
        self.calibration: Calibration | None = None
        self.reason = ""
        self._operators = operators
        self._language = bench.toolchain.language()
        self._seed = settings.harvest.seed
        self._source: MutationSource | None = None
        self._uniform: Callable[[int], Counter[str]] = lambda draws: Counter()
        if "mutated" not in settings.harvest.source:
            self.reason = "no mutants are wanted"
        elif not settings.harvest.calibrate:
            self.reason = "turned off"
        elif not isinstance(self._language, PythonLanguage):
            self.reason = "fixes are classified in Python only"
        elif is_shallow(bench.checkout.git_dir):
            self.reason = "the clone is shallow: there is no history"
        else:
            with phase(bus, "calibrate"):
                self._learn(bench)

    def source(
        self, contents: Mapping[str, bytes], covered: Callable[[str], Set[int] | None]
    ) -> MutationSource:
        """The source of mutants of `contents`; `covered` gives the lines that some test runs."""
        weights = None
        if self.calibration is not None and not self.reason:
            weights = operator_weights(self.calibration, self._operators)
        self._source = MutationSource(
            contents,
            operators=self._operators,
            covered=covered,
            seed=self._seed,
            weights=weights,
            language=self._language,
        )
        self._uniform = lambda draws: drawn_families(
            contents, self._operators, seed=self._seed, draws=draws, covered=covered
        )
        return self._source

    def summary(self) -> dict[str, Any]:
        """What was learned, and the distance of what was drawn from it; None where not known.

        `drawn` and `drawn_uniform` are the numbers of draws that the distances are of.
        """
        found = self.calibration
        by_family: Counter[str] = Counter()
        if self._source is not None:
            families = {operator.name: operator.family for operator in self._operators}
            for name, count in self._source.drawn.items():
                by_family[families[name]] += count
        drawn = sum(by_family.values())
        uniform: Counter[str] = Counter()
        if found is not None and not self.reason and drawn:
            uniform = self._uniform(min(drawn, MOST_COMPARED))
        fixes = found.families if found is not None else {}
        return {
            "reason": self.reason,
            "commits": found.commits if found is not None else 0,
            "fixes": found.fixes if found is not None else 0,
            "classified": found.classified if found is not None else 0,
            "distance_uniform": _rounded(distance(uniform, fixes)),
            "distance": _rounded(distance(by_family, fixes)),
            "drawn_uniform": sum(uniform.values()),
            "drawn": drawn,
            "families": {
                family: {"fixes": round(fixes.get(family, 0.0), 2), "drawn": by_family[family]}
                for family in sorted(fixes.keys() | by_family.keys())
            }
            if fixes
            else {},
        }

    def _learn(self, bench: Workbench) -> None:
        checkout, toolchain = bench.checkout, bench.toolchain
        identity = content_hash(
            "calibration",
            CALIBRATION_VERSION,
            [operator.name for operator in select_operators()],
            checkout.commit,
            toolchain.id,
        )
        kept = bench.cache / "calibrations" / f"{identity}.json"
        found = _load(kept)
        if found is None:
            try:
                with (
                    closing(log(checkout.git_dir, checkout.commit)) as history,
                    Blobs(checkout.git_dir) as blobs,
                ):
                    found = learn_mistakes(
                        history,
                        read=blobs.read,
                        is_source=toolchain.is_source,
                        is_test=toolchain.is_protected,
                    )
            except RepositoryError as error:
                self.reason = error.message
                return
            _save(found, kept)
        self.calibration = found
        if found.commits < 2:
            self.reason = "there is no history"
        elif not found.fixes:
            self.reason = f"none of {found.commits} commits reads like a fix of Python"
        elif not found.classified:
            self.reason = f"none of {found.fixes} fixes is of a kind that an operator makes"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _load(path: Path) -> Calibration | None:
    try:
        return Calibration(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _save(calibration: Calibration, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(calibration)))
    partial.replace(path)
