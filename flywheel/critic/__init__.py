"""Floor 3: judging. Environments, baselines, the lanes, the verdict.

Knows nothing of where candidates come from or where verdicts are kept.
"""

from flywheel.critic.affected import CALLS_CHANGED, TEST_GONE, Affected, Version, compare
from flywheel.critic.baseline import Learned, learn
from flywheel.critic.baseline import load as load_learned
from flywheel.critic.baseline import save as save_learned
from flywheel.critic.command import CommandCritic, Tested, Tester, changed_files
from flywheel.critic.critic import Critic, Suite
from flywheel.critic.environment import Environment, build, definition_key
from flywheel.critic.half import HALF, real
from flywheel.critic.judge import Judge
from flywheel.critic.lane import RUNNER, RUNNER_TARGET, LaneServer, isolation_of
from flywheel.critic.ledger import learn_by_command
from flywheel.critic.parts import MASKED, told_apart
from flywheel.critic.profile import CommandProfile, PytestProfile
from flywheel.critic.run import PATIENT, Run
from flywheel.critic.select import Layout, edit_of
from flywheel.critic.toolchain import Toolchain, detect, other_files, sources
from flywheel.critic.toolchain import load as load_toolchains
from flywheel.critic.tree import build_tree, discard_tree, module_of, tool_versions, tree_key
from flywheel.critic.units import Unit, unit_at, units

__all__ = [
    "CALLS_CHANGED",
    "HALF",
    "MASKED",
    "PATIENT",
    "RUNNER",
    "RUNNER_TARGET",
    "TEST_GONE",
    "Affected",
    "CommandCritic",
    "CommandProfile",
    "Critic",
    "Environment",
    "Judge",
    "LaneServer",
    "Layout",
    "Learned",
    "PytestProfile",
    "Run",
    "Suite",
    "Tested",
    "Tester",
    "Toolchain",
    "Unit",
    "Version",
    "build",
    "build_tree",
    "changed_files",
    "compare",
    "definition_key",
    "detect",
    "discard_tree",
    "edit_of",
    "isolation_of",
    "learn",
    "learn_by_command",
    "load_learned",
    "load_toolchains",
    "module_of",
    "other_files",
    "real",
    "save_learned",
    "sources",
    "told_apart",
    "tool_versions",
    "tree_key",
    "unit_at",
    "units",
]
