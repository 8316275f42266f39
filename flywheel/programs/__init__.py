"""Floor 6: programs, the rows that they are run on, and what is measured of their answers.

A `Program` is found by its name or its file; asked of nobody and run by nobody here. A `Metric` is
a file of the user's or ours; `Case` and `Answer` go in, a `Score` comes out. What a metric needs
beside them (the tests, a model that judges, other metrics) it is handed as a port; who calls it
wires the real ones.
"""

from flywheel.programs.agreement import Agreement, Judgement, agreement
from flywheel.programs.case import Answer, Case, Score
from flywheel.programs.estimate import Estimate, draws, mean_of, share_of
from flywheel.programs.metric import NEEDS, Metric, load_metric
from flywheel.programs.ports import Critic, Judge, Metrics, Proof, Tools
from flywheel.programs.program import Program, answer_of, find_program
from flywheel.programs.row import FIELDS, Row, rows_of

__all__ = [
    "FIELDS",
    "NEEDS",
    "Agreement",
    "Answer",
    "Case",
    "Critic",
    "Estimate",
    "Judge",
    "Judgement",
    "Metric",
    "Metrics",
    "Program",
    "Proof",
    "Row",
    "Score",
    "Tools",
    "agreement",
    "answer_of",
    "draws",
    "find_program",
    "load_metric",
    "mean_of",
    "rows_of",
    "share_of",
]
