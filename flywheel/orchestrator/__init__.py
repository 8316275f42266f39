"""Floor 10: the use-cases that wire the floors below into a loop. The command line calls these."""

from flywheel.orchestrator.harvest import harvest
from flywheel.orchestrator.history import History, look_through
from flywheel.orchestrator.judging import Progress
from flywheel.orchestrator.replay import Replayed, replay

__all__ = ["History", "Progress", "Replayed", "harvest", "look_through", "replay"]
