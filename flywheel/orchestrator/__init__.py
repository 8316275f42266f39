"""Floor 10: the use-cases that wire the floors below into a loop. The command line calls these."""

from flywheel.orchestrator.harvest import harvest
from flywheel.orchestrator.history import History, look_through
from flywheel.orchestrator.judging import Progress
from flywheel.orchestrator.replay import Replayed, replay
from flywheel.orchestrator.status import RepositoryStatus, status

__all__ = [
    "History",
    "Progress",
    "Replayed",
    "RepositoryStatus",
    "harvest",
    "look_through",
    "replay",
    "status",
]
