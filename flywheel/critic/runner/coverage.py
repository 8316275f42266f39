"""Which lines each test executes, and which ran at import.

On Python 3.12 and later `sys.monitoring` reports each line once per test: the event of a line
is disabled where it fired and all are re-armed when the next test starts, so hot loops run at
full speed. On earlier versions coverage.py does it, with a context for each test (several times
slower), or a Python trace function where coverage.py is not there (slower still).
"""

from __future__ import annotations

import sys
from typing import Any, Dict, Set


class LineMap:
    """Collects executed lines of the watched files into one bucket at a time."""

    def __init__(self, files: Dict[str, int]) -> None:
        self.files = files
        """Absolute file name in the box -> index in the request's list."""
        self.bucket = {}  # type: Dict[int, Set[int]]
        """File index -> lines executed since the last `take`."""

    def start(self) -> None:
        """Begin collecting."""
        raise NotImplementedError

    def take(self) -> Dict[int, Set[int]]:
        """What was executed since the last call; starts the next bucket."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop collecting."""
        raise NotImplementedError

    def late(self) -> Dict[int, Dict[int, Set[int]]]:
        """Number of a call of `take` -> what it should have returned, where only the end tells."""
        return {}


class MonitoringMap(LineMap):
    """`sys.monitoring`, Python 3.12 and later."""

    def start(self) -> None:
        monitoring = sys.monitoring  # type: ignore[attr-defined]
        self.monitoring = monitoring
        self.tool = next(i for i in (3, 4, 1, 0) if monitoring.get_tool(i) is None)
        monitoring.use_tool_id(self.tool, "flywheel")
        files = self.files
        disable = monitoring.DISABLE

        def on_line(code: Any, line: int) -> Any:
            index = files.get(code.co_filename)
            if index is not None:
                # Looked up anew each time: `take` puts another dict there.
                lines = self.bucket.get(index)
                if lines is None:
                    lines = self.bucket[index] = set()
                lines.add(line)
            return disable

        monitoring.register_callback(self.tool, monitoring.events.LINE, on_line)
        monitoring.set_events(self.tool, monitoring.events.LINE)

    def take(self) -> Dict[int, Set[int]]:
        taken, self.bucket = self.bucket, {}
        self.monitoring.restart_events()
        return taken

    def stop(self) -> None:
        self.monitoring.set_events(self.tool, 0)
        self.monitoring.free_tool_id(self.tool)


class ContextMap(LineMap):
    """coverage.py with a context a test: everything is known at the end, `late` says of whom."""

    def __init__(self, files: Dict[str, int], coverage: Any) -> None:
        LineMap.__init__(self, files)
        # Neither a data file nor the repository's own settings.
        self.coverage = coverage.Coverage(
            data_file=None, config_file=False, include=["/repo/*"], messages=False
        )
        self.contexts = 0

    def start(self) -> None:
        self.coverage.start()
        self.coverage.switch_context("0")

    def take(self) -> Dict[int, Set[int]]:
        self.contexts += 1
        self.coverage.switch_context(str(self.contexts))
        return {}

    def stop(self) -> None:
        self.coverage.stop()

    def late(self) -> Dict[int, Dict[int, Set[int]]]:
        self.stop()
        data = self.coverage.get_data()
        found = {}  # type: Dict[int, Dict[int, Set[int]]]
        for name in data.measured_files():
            index = self.files.get(name)
            if index is None:
                continue
            for line, contexts in data.contexts_by_lineno(name).items():
                for context in contexts:
                    if context:
                        lines = found.setdefault(int(context), {}).setdefault(index, set())
                        lines.add(line)
        return found


class TraceFunctionMap(LineMap):
    """`sys.settrace`, where nothing better is there: slow in hot loops, right all the same."""

    def start(self) -> None:
        files = self.files

        def on_call(frame: Any, event: str, arg: Any) -> Any:
            index = files.get(frame.f_code.co_filename)
            if index is None:
                return None

            def on_line(frame: Any, event: str, arg: Any) -> Any:
                if event == "line":
                    lines = self.bucket.get(index)
                    if lines is None:
                        lines = self.bucket[index] = set()
                    lines.add(frame.f_lineno)
                return on_line

            return on_line

        self.tracer = on_call
        import threading

        threading.settrace(on_call)
        sys.settrace(on_call)

    def take(self) -> Dict[int, Set[int]]:
        taken, self.bucket = self.bucket, {}
        return taken

    def stop(self) -> None:
        import threading

        sys.settrace(None)
        threading.settrace(None)


def can_watch_cheaply() -> bool:
    """True where watching lines costs a few per cent, not several times the run."""
    return hasattr(sys, "monitoring")


def line_map(files: Dict[str, int]) -> LineMap:
    """The best collector this interpreter has."""
    if can_watch_cheaply():
        return MonitoringMap(files)
    try:
        import coverage  # type: ignore[import-not-found]
    except ImportError:
        return TraceFunctionMap(files)
    return ContextMap(files, coverage)
