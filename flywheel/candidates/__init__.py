"""Where candidates come from: mutation operators, their sites, pruning and sampling.

It reads source text and a repository's history; it knows no tests and no store.
"""

from flywheel.candidates.combined import Bug, CombinedSource
from flywheel.candidates.fixes import Fix, Passed, Signals, look
from flywheel.candidates.operators import select as select_operators
from flywheel.candidates.revert import RevertSource
from flywheel.candidates.sample import NotReady
from flywheel.candidates.source import MutationSource, Source, Sources

__all__ = [
    "Bug",
    "CombinedSource",
    "Fix",
    "MutationSource",
    "NotReady",
    "Passed",
    "RevertSource",
    "Signals",
    "Source",
    "Sources",
    "look",
    "select_operators",
]
