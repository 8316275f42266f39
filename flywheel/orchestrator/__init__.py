"""Floor 10: the use-cases that wire the floors below into a loop. The command line calls these."""

from flywheel.orchestrator.answers import (
    Chosen,
    choose,
)
from flywheel.orchestrator.audit import (
    Audited,
    AuditProgress,
    NotAudited,
    audit,
)
from flywheel.orchestrator.correct import Tally as CorrectTally
from flywheel.orchestrator.correct import correct
from flywheel.orchestrator.cost import (
    Cost,
    cost,
    take_calls,
)
from flywheel.orchestrator.dataset import (
    Known,
    build_dataset,
    recipes,
)
from flywheel.orchestrator.drawn import Drawn, draw
from flywheel.orchestrator.evaluate import evaluate
from flywheel.orchestrator.evaluated import (
    Compared,
    Evaluated,
    evaluated_summary,
    outcome_rows,
)
from flywheel.orchestrator.harvest import harvest
from flywheel.orchestrator.history import (
    History,
    look_through,
)
from flywheel.orchestrator.judging import Progress
from flywheel.orchestrator.measure import (
    Measured,
    agreement_of,
    measure,
    summary_of,
)
from flywheel.orchestrator.prove import Prover
from flywheel.orchestrator.replay import (
    Replayed,
    replay,
)
from flywheel.orchestrator.status import (
    RepositoryStatus,
    status,
)
from flywheel.orchestrator.tools import (
    Listed,
    find_metric,
    list_metrics,
)

__all__ = [
    "AuditProgress",
    "Audited",
    "Chosen",
    "Compared",
    "CorrectTally",
    "Cost",
    "Drawn",
    "Evaluated",
    "History",
    "Known",
    "Listed",
    "Measured",
    "NotAudited",
    "Progress",
    "Prover",
    "Replayed",
    "RepositoryStatus",
    "agreement_of",
    "audit",
    "build_dataset",
    "choose",
    "correct",
    "cost",
    "draw",
    "evaluate",
    "evaluated_summary",
    "find_metric",
    "harvest",
    "list_metrics",
    "look_through",
    "measure",
    "outcome_rows",
    "recipes",
    "replay",
    "status",
    "summary_of",
    "take_calls",
]
