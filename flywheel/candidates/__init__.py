"""Where candidates come from: mutation operators, their sites, pruning and sampling.

It reads source text and a repository's history; it knows no tests and no store.
"""

from flywheel.candidates.fixes import Fix, Passed, Signals, look
from flywheel.candidates.generated import is_generated
from flywheel.candidates.language import (
    GrammarLanguage,
    Language,
    PythonLanguage,
    SeveralLanguages,
)
from flywheel.candidates.operators import chosen as choose_operators
from flywheel.candidates.operators import select as select_operators
from flywheel.candidates.revert import RevertSource
from flywheel.candidates.sample import NotReady
from flywheel.candidates.source import MutationSource, Source, Sources

__all__ = [
    "Fix",
    "GrammarLanguage",
    "Language",
    "MutationSource",
    "NotReady",
    "Passed",
    "PythonLanguage",
    "RevertSource",
    "SeveralLanguages",
    "Signals",
    "Source",
    "Sources",
    "choose_operators",
    "is_generated",
    "look",
    "select_operators",
]
