"""The figures that runs leave, each with its sample and, where it is a share, its interval."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from flywheel.orchestrator.judging import Tally
from flywheel.programs import Estimate, share_of
from flywheel.store import AUDIT, CORRECT, HARVEST, Figure, Oracle, Replayable, Score

YIELD, UNKNOWN_SHARE, PACE = "yield", "unknown", "examples a minute"
MENDED = "mended"
STRENGTH, WEAK = "oracle strength", "weak"
"""Names of the figures."""

_JUDGED = ("valid", "survived", "unknown", "breaks-everything")
"""Verdicts of a candidate that was run."""


def harvest_figures(run_id: str, repo: str, tally: Tally) -> list[Figure]:
    """Of the candidates that were run, the share that became bugs; the share not known; the pace.

    Verdicts that were known from before count. The pace is of this run alone, without an interval,
    and its sample are the examples that are new.
    """
    verdicts = {name: tally.verdicts[name] for name in _JUDGED}
    judged = sum(verdicts.values())
    detail = {"verdicts": verdicts, "known": tally.known}
    found = [
        _share(run_id, HARVEST, repo, name, share_of(tally.verdicts[verdict], judged), detail)
        for name, verdict in ((YIELD, "valid"), (UNKNOWN_SHARE, "unknown"))
        if judged
    ]
    if tally.judged and tally.seconds:
        pace = tally.examples / tally.seconds * 60
        seconds = {"seconds": round(tally.seconds, 2)}
        found.append(
            Figure(run_id, HARVEST, repo, PACE, pace, tally.examples, None, None, "", seconds)
        )
    return found


def correct_figures(
    run_id: str,
    repos: Mapping[str, str],
    asked: Collection[str],
    mended: Collection[str],
    *,
    model: str,
) -> list[Figure]:
    """Of the examples of each repository that a model was asked about, the share that it mended.

    `repos` are the repositories by example. Models differ, so each is a version of its own.
    """
    of_repo: dict[str, list[str]] = defaultdict(list)
    for example_id in asked:
        of_repo[repos[example_id]].append(example_id)
    found = []
    for repo, ids in sorted(of_repo.items()):
        share = share_of(len(set(ids) & set(mended)), len(ids))
        found.append(_share(run_id, CORRECT, repo, MENDED, share, {}, version=f"by {model}"))
    return found


def audit_figures(
    run_id: str, rows: Sequence[Replayable], oracles: Iterable[Oracle], scores: Iterable[Score]
) -> list[Figure]:
    """Of the wrong fixes tried on each repository's tests the share rejected, and the weak rows."""
    of_baseline = {row.baseline_id: row.repo for row in rows}
    of_example = {row.example_id: row.repo for row in rows}
    rejected: dict[str, int] = defaultdict(int)
    tried: dict[str, int] = defaultdict(int)
    for oracle in oracles:
        repo = of_baseline[oracle.baseline_id]
        rejected[repo] += len(oracle.rejected)
        tried[repo] += oracle.tried
    weak: dict[str, list[bool]] = defaultdict(list)
    for score in scores:
        if score.weak is not None:
            weak[of_example[score.example_id]].append(score.weak)
    found = [
        _share(run_id, AUDIT, repo, STRENGTH, share_of(rejected[repo], count), {})
        for repo, count in sorted(tried.items())
        if count
    ]
    for repo, told in sorted(weak.items()):
        found.append(_share(run_id, AUDIT, repo, WEAK, share_of(sum(told), len(told)), {}))
    return found


def _share(
    run_id: str,
    kind: str,
    subject: str,
    metric: str,
    share: Estimate,
    detail: Mapping[str, object],
    *,
    version: str = "",
) -> Figure:
    return Figure(
        run_id, kind, subject, metric, share.value, share.n, share.low, share.high, version, detail
    )
