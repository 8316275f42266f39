"""Which lines each test executes, and which ran at import.

On Python 3.12 and later `sys.monitoring` reports each line once per test: the event of a line
is disabled where it fired and all are re-armed when the next test starts, so hot loops run at
full speed. On earlier versions the C tracer of coverage.py is driven directly where it can be
imported (its own test contexts cost several times more), else a Python trace function.
"""

from __future__ import annotations

import sys
from typing import Any, Dict, Optional, Set


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


class TracerMap(LineMap):
    """coverage.py's C tracer, driven without its data file."""

    def __init__(self, files: Dict[str, int], tracer_class: Any) -> None:
        LineMap.__init__(self, files)
        self.tracer_class = tracer_class
        self.dispositions = {}  # type: Dict[str, Any]

    def start(self) -> None:
        from coverage.disposition import FileDisposition  # type: ignore[import-not-found]

        tracer = self.tracer_class()
        self.data = {}  # type: Dict[str, Any]
        tracer.data = self.data
        tracer.trace_arcs = False
        tracer.should_trace_cache = self.dispositions

        def should_trace(filename: str, frame: Any) -> Any:
            disposition = FileDisposition()
            disposition.original_filename = filename
            disposition.canonical_filename = filename
            disposition.source_filename = filename
            disposition.trace = filename in self.files
            disposition.reason = ""
            disposition.file_tracer = None
            disposition.has_dynamic_filename = False
            return disposition

        tracer.should_trace = should_trace
        tracer.warn = lambda *args, **kwargs: None
        for name, value in (("lock_data", _nothing), ("unlock_data", _nothing)):
            if hasattr(tracer, name):
                setattr(tracer, name, value)
        if hasattr(tracer, "concur_id_func"):
            tracer.concur_id_func = None
        self.tracer = tracer
        tracer.start()

    def take(self) -> Dict[int, Set[int]]:
        taken = {self.files[name]: set(lines) for name, lines in self.data.items() if lines}
        # The tracer keeps references to these sets in its frame stack: empty, do not replace.
        for lines in self.data.values():
            lines.clear()
        return taken

    def stop(self) -> None:
        self.tracer.stop()


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


def line_map(files: Dict[str, int]) -> LineMap:
    """The best collector this interpreter has."""
    if hasattr(sys, "monitoring"):
        return MonitoringMap(files)
    tracer = _c_tracer()
    if tracer is not None:
        return TracerMap(files, tracer)
    return TraceFunctionMap(files)


def _c_tracer() -> Optional[Any]:
    try:
        from coverage.tracer import CTracer  # type: ignore[import-not-found]
    except ImportError:
        return None
    return CTracer


def _nothing() -> None:
    return None
