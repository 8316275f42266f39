"""Floor 3: judging. Environments, baselines, the lanes, the verdict.

Knows nothing of where candidates come from or where verdicts are kept.
"""

from flywheel.critic.affected import CALLS_CHANGED, TEST_GONE, Affected, Version, compare
from flywheel.critic.baseline import Learned, learn
from flywheel.critic.baseline import load as load_learned
from flywheel.critic.baseline import save as save_learned
from flywheel.critic.critic import Critic, Suite
from flywheel.critic.environment import Environment, build, definition_key
from flywheel.critic.lane import RUNNER, RUNNER_TARGET, LaneServer, isolation_of
from flywheel.critic.run import PATIENT, Run
from flywheel.critic.select import Layout, edit_of
from flywheel.critic.toolchain import Toolchain, detect, other_files, sources
from flywheel.critic.toolchain import load as load_toolchains
from flywheel.critic.units import Unit, unit_at, units

__all__ = [
    "CALLS_CHANGED",
    "PATIENT",
    "RUNNER",
    "RUNNER_TARGET",
    "TEST_GONE",
    "Affected",
    "Critic",
    "Environment",
    "LaneServer",
    "Layout",
    "Learned",
    "Run",
    "Suite",
    "Toolchain",
    "Unit",
    "Version",
    "build",
    "compare",
    "definition_key",
    "detect",
    "edit_of",
    "isolation_of",
    "learn",
    "load_learned",
    "load_toolchains",
    "other_files",
    "save_learned",
    "sources",
    "unit_at",
    "units",
]
