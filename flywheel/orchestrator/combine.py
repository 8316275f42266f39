"""Combining: the bugs proven at a commit, from the store to the source that puts them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flywheel.candidates import Bug, CombinedSource
from flywheel.core.errors import UsageError
from flywheel.core.events import Warned
from flywheel.core.settings import HarvestSettings
from flywheel.critic import MASKED
from flywheel.orchestrator.carry import Carrying
from flywheel.orchestrator.judging import Judging
from flywheel.store import Store, combined_parts, proven_candidates

NAME = "combined"
"""The source's name."""
KEPT_FOR_IT = 0.2
"""Share of `--max-candidates` that is kept for combinations where other sources are drawn too."""


def check(wanted: HarvestSettings) -> None:
    """Raise `UsageError` where bugs could not be told apart."""
    if NAME in wanted.source and wanted.fail_fast:
        raise UsageError(
            "combined bugs are told apart by all the tests that fail for each",
            cause="--fail-fast stops at the first of them",
            hint="leave out --fail-fast, or combined of --source",
        )


def ration(wanted: HarvestSettings) -> int | None:
    """Candidates that other sources may make before bugs are combined, None for all there are."""
    if not wanted.max_candidates:
        return None
    return wanted.max_candidates - int(KEPT_FOR_IT * wanted.max_candidates)


def combined_source(
    loop: Judging, carrying: Carrying, store: Store, contents: Mapping[str, bytes], *, seed: int
) -> CombinedSource:
    """The source that combines what is proven, or still stands, when it is first drawn."""
    baseline_id = loop.learned.baseline.baseline_id

    def bugs() -> Sequence[Bug]:
        loop.settle()
        proven = (*proven_candidates(store, baseline_id), *carrying.bugs())
        if len(proven) < 2:
            loop.bus.publish(
                Warned(
                    NAME,
                    f"{len(proven)} bugs of this commit are proven: there is nothing to combine",
                    f"--source mutated,{NAME}",
                )
            )
        return [Bug(one.candidate, frozenset(one.failing), one.proven_as) for one in proven]

    def known() -> Sequence[Sequence[str]]:
        return (*combined_parts(store, baseline_id, settled=[MASKED]), *carrying.combined())

    return CombinedSource(
        contents,
        bugs=bugs,
        known=known,
        seed=seed,
        language=loop.bench.toolchain.language(),
    )
