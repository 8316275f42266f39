"""The door for notebooks and programs: what a workspace holds, read-only, as frames and pages.

    import flywheel

    fw = flywheel.open()
    fw.examples(where="error_type = 'KeyError'")

`Door` reads while a harvest writes. `flywheel.notebook.charts` draws what the notebooks show, and
needs the extra `notebook`; nothing else here does. `%load_ext flywheel` adds `%fw` and `%%fw`.
"""

from flywheel.notebook.door import Door, open_workspace
from flywheel.notebook.magic import load_ipython_extension
from flywheel.notebook.note import Note
from flywheel.notebook.page import DatasetPage, ExamplePage

__all__ = [
    "DatasetPage",
    "Door",
    "ExamplePage",
    "Note",
    "load_ipython_extension",
    "open_workspace",
]
