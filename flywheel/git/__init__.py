"""Floor 1: repositories. Resolves what a user names to one commit, and exports its tree."""

from flywheel.git.checkout import Checkout, Entry
from flywheel.git.index import IndexSettings, index_settings
from flywheel.git.resolve import resolve

__all__ = ["Checkout", "Entry", "IndexSettings", "index_settings", "resolve"]
