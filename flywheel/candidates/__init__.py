"""Where candidates come from: mutation operators, their sites, pruning and sampling.

It reads source text and nothing else: it knows no tests, no repository, no store.
"""

from flywheel.candidates.operators import select as select_operators
from flywheel.candidates.sample import NotReady
from flywheel.candidates.source import MutationSource, Source

__all__ = ["MutationSource", "NotReady", "Source", "select_operators"]
