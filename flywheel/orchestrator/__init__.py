"""Floor 10: the use-cases that wire the floors below into a loop. The command line calls these."""

from flywheel.orchestrator.harvest import Progress, harvest
from flywheel.orchestrator.replay import Replayed, replay

__all__ = ["Progress", "Replayed", "harvest", "replay"]
