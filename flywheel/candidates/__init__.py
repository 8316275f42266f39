"""Where candidates come from: mutation operators, their sites, pruning and sampling.

It reads source text and a repository's history; it knows no tests and no store.
"""

from flywheel.candidates.calibrate import VERSION as CALIBRATION_VERSION
from flywheel.candidates.calibrate import Calibration, distance, drawn_families, learn_mistakes
from flywheel.candidates.calibrate import weights as operator_weights
from flywheel.candidates.combined import Bug, CombinedSource
from flywheel.candidates.fixes import Fix, Passed, Signals, look
from flywheel.candidates.generated import is_generated
from flywheel.candidates.hunk import hunks
from flywheel.candidates.language import (
    GrammarLanguage,
    Language,
    PythonLanguage,
    SeveralLanguages,
)
from flywheel.candidates.module import Edit
from flywheel.candidates.mutate import candidate as changed_candidate
from flywheel.candidates.operator import Described
from flywheel.candidates.operators import chosen as choose_operators
from flywheel.candidates.operators import select as select_operators
from flywheel.candidates.revert import RevertSource
from flywheel.candidates.sample import NotReady
from flywheel.candidates.source import MutationSource, Source, Sources
from flywheel.candidates.written import (
    ATTEMPT,
    Broken,
    Form,
    Mended,
    Mode,
    Rejected,
    WrittenSource,
    choose_modes,
    correction,
    read_answer,
)
from flywheel.candidates.wrong import Kind as WrongKind
from flywheel.candidates.wrong import WrongFix, wrong_fixes

__all__ = [
    "ATTEMPT",
    "CALIBRATION_VERSION",
    "Broken",
    "Bug",
    "Calibration",
    "CombinedSource",
    "Described",
    "Edit",
    "Fix",
    "Form",
    "GrammarLanguage",
    "Language",
    "Mended",
    "Mode",
    "MutationSource",
    "NotReady",
    "Passed",
    "PythonLanguage",
    "Rejected",
    "RevertSource",
    "SeveralLanguages",
    "Signals",
    "Source",
    "Sources",
    "WrittenSource",
    "WrongFix",
    "WrongKind",
    "changed_candidate",
    "choose_modes",
    "choose_operators",
    "correction",
    "distance",
    "drawn_families",
    "hunks",
    "is_generated",
    "learn_mistakes",
    "look",
    "operator_weights",
    "read_answer",
    "select_operators",
    "wrong_fixes",
]
