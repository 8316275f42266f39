"""Floor 10: the use-cases that wire the floors below into a loop. The command line calls these."""

from flywheel.orchestrator.audit import Audited, AuditProgress, NotAudited, audit
from flywheel.orchestrator.correct import Tally as CorrectTally
from flywheel.orchestrator.correct import correct
from flywheel.orchestrator.cost import Cost, cost, take_calls
from flywheel.orchestrator.dataset import Known, build_dataset, recipes
from flywheel.orchestrator.harvest import harvest
from flywheel.orchestrator.history import History, look_through
from flywheel.orchestrator.judging import Progress
from flywheel.orchestrator.replay import Replayed, replay
from flywheel.orchestrator.status import RepositoryStatus, status

__all__ = [
    "AuditProgress",
    "Audited",
    "CorrectTally",
    "Cost",
    "History",
    "Known",
    "NotAudited",
    "Progress",
    "Replayed",
    "RepositoryStatus",
    "audit",
    "build_dataset",
    "correct",
    "cost",
    "harvest",
    "look_through",
    "recipes",
    "replay",
    "status",
    "take_calls",
]
