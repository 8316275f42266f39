"""Floor 1: the workspace: its root, its state folder, and the content mounted in it."""

from flywheel.workspace.content import Content, ContentKind, content, find_content
from flywheel.workspace.place import Initialised, Workspace, find, init

__all__ = [
    "Content",
    "ContentKind",
    "Initialised",
    "Workspace",
    "content",
    "find",
    "find_content",
    "init",
]
