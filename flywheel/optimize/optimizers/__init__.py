"""The optimisers, by name: DSPy's, told what keeps them honest on small rows and small models.

Each is a module with one `OPTIMIZER`. They import DSPy, and are imported when they are asked for.
"""

from __future__ import annotations

import difflib
import importlib
from typing import cast

from flywheel.core.errors import UsageError
from flywheel.optimize.ground import Optimizer

OPTIMIZERS = {
    "miprov2": "instructions and demonstrations, searched together (Opsahl-Ong et al., 2024)",
    "bootstrap-finetune": "the model's weights, on answers that the metric accepts",
    "bootstrap-fewshot": "demonstrations, the first that the metric accepts",
    "random-search": "demonstrations, the best of several draws",
    "gepa": "instructions, by reflection on what went wrong (Agrawal et al., 2025)",
    "simba": "rules and demonstrations, by contrast of good and bad answers",
    "better-together": "the prompt, then the weights, then the prompt (Soylu et al., 2024)",
}
"""Name of each optimiser -> what it changes, in a few words."""
WEIGHTS = ("bootstrap-finetune", "better-together")
"""Those that train weights: they learn from every row there is."""


def find_optimizer(name: str) -> Optimizer:
    """The optimiser of a name. Raises `UsageError`."""
    if name not in OPTIMIZERS:
        near = difflib.get_close_matches(name, OPTIMIZERS, n=1)
        raise UsageError(
            f"there is no optimiser {name!r}",
            cause=f"there are {', '.join(OPTIMIZERS)}",
            hint=f"did you mean {near[0]}?" if near else "flywheel optimize --help",
        )
    module = importlib.import_module(f"flywheel.optimize.optimizers.{name.replace('-', '_')}")
    return cast("Optimizer", module.OPTIMIZER)
