"""Floor 1: repositories. Resolves what a user names to one commit, and exports its tree."""

from flywheel.git.checkout import Checkout, Entry
from flywheel.git.history import Blobs, Commit, FileChange, is_shallow, log
from flywheel.git.index import IndexSettings, index_settings
from flywheel.git.merge import merge
from flywheel.git.range import commits_behind, merge_base
from flywheel.git.resolve import at, check_source, resolve

__all__ = [
    "Blobs",
    "Checkout",
    "Commit",
    "Entry",
    "FileChange",
    "IndexSettings",
    "at",
    "check_source",
    "commits_behind",
    "index_settings",
    "is_shallow",
    "log",
    "merge",
    "merge_base",
    "resolve",
]
