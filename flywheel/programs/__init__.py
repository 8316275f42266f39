"""Floor 6: what is measured of answers, and how sure the measure is. Pure: it runs nothing.

A `Metric` is a file of the user's or ours; `Case` and `Answer` go in, a `Score` comes out. What a
metric needs beside them (the tests, a model that judges, other metrics) it is handed as a port;
who calls it wires the real ones.
"""

from flywheel.programs.agreement import Agreement, Judgement, agreement
from flywheel.programs.case import Answer, Case, Score
from flywheel.programs.estimate import Estimate, mean_of, share_of
from flywheel.programs.metric import NEEDS, Metric, load_metric
from flywheel.programs.ports import Critic, Judge, Metrics, Proof, Tools

__all__ = [
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
    "Proof",
    "Score",
    "Tools",
    "agreement",
    "load_metric",
    "mean_of",
    "share_of",
]
