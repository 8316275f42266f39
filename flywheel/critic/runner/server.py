"""The fork server: takes requests from the critic, forks one isolated child for each.

Two lanes share it. `fresh`: the server holds the interpreter and pytest, which is configured and
about to collect where that much imports nothing of the target but its conftest files; each child
imports the changed tree, collects and runs. `warm`: the server is itself inside pytest's run loop
with the suite imported and collected; each child swaps the changed functions and runs the
selected items. The server runs no test, so nothing a test does is inherited.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import re
import resource
import signal
import socket
import sys
import time
import warnings
from typing import Any, Callable, Dict, List, Optional

import pytest

from flywheel_runner import isolate, leftovers, plain, session, swap
from flywheel_runner.coverage import can_watch_cheaply, line_map
from flywheel_runner.reach import Reach
from flywheel_runner.wire import Wire

ROOT = "/repo/"
Request = Dict[str, Any]


class Suite:
    """What the critic has told the server about the tests."""

    def __init__(self) -> None:
        self.ids = []  # type: List[str]
        """Ids of every test, in suite order."""
        self.seconds = []  # type: List[float]
        """Seconds each took in the baseline."""
        self.files = frozenset()  # type: Any
        """Absolute paths of the files that hold tests."""
        self.paths = []  # type: List[str]
        """For each test the absolute path of its file."""

    def tell(self, request: Request) -> None:
        self.ids = request["ids"]
        self.seconds = request["seconds"]
        self.paths = [ROOT + path for path in request["paths"]]
        self.files = frozenset(self.paths)


class Server(Wire):
    """The loop between the critic's socket and the forks, one fork at a time."""

    def __init__(
        self, connection: socket.socket, config: Dict[str, Any], isolation: isolate.Isolation
    ) -> None:
        super().__init__(connection)
        self.config = config
        self.isolation = isolation
        self.suite = Suite()
        self.work = None  # type: Optional[Callable[[Request, session.Channel], None]]
        self.prepare = None  # type: Optional[Callable[[Request], None]]
        self.bases = {}  # type: Dict[str, bytes]
        self.compiled = None  # type: Optional[session.CompiledTests]
        self.resident = 0
        """Most memory this process held before it served."""
        self.memory = mmap.mmap(-1, session.HEADER.size + config["max_tests"])

    def base(self, path: str) -> bytes:
        """Bytes of a file of the base tree."""
        if path not in self.bases:
            with open(ROOT + path, "rb") as file:
                self.bases[path] = file.read()
        return self.bases[path]

    def serve(self) -> None:
        """Until the critic hangs up."""
        self.isolation.join()
        self.resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        for request in self.requests():
            if request["op"] == "tests":
                self.suite.tell(request)
                if self.compiled is not None:
                    self.compiled.prepare(_test_files(self.suite.paths))
                self.resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
                self.send({"id": request["id"], "status": "ok"})
            elif request["op"] == "patterns":
                compile_patterns(request["patterns"])
                self.send({"id": request["id"], "status": "ok"})
            else:
                self.run(request)

    def run(self, request: Request) -> None:
        """Fork for one request and report what came of it."""
        try:
            if self.prepare is not None:
                self.prepare(request)
        except Exception as error:  # recorded, not judged: the critic goes another way
            self.send({"id": request["id"], "status": "structural: %s" % error})
            return
        selected = request.get("tests")
        size = session.HEADER.size + (
            len(selected) if selected is not None else self.config["max_tests"]
        )
        self.memory[:size] = bytes(size)
        session.HEADER.pack_into(self.memory, 0, -1)
        work = self.work
        assert work is not None
        began = time.monotonic()

        def run(descriptor: int) -> None:
            channel = session.Channel(descriptor, self.memory)
            channel.send(ready=time.monotonic())
            work(request, channel)
            channel.send(done=time.monotonic())

        data = bytearray()
        try:
            child = self.isolation.spawn(run)
            ended = child.wait(request["wall"], data.extend)
        except isolate.IsolationError as error:
            self.send({"id": request["id"], "status": "infrastructure", "reason": str(error)})
            return
        status = ended.cause
        if status == "exited":
            status = "ran" if b'{"done":' in data[-64:] else "died"
        elif status == "setup":
            status = "infrastructure"
        marks = bytes(self.memory[session.HEADER.size : size])
        if selected is None:
            marks = marks.rstrip(b"\0")
        self.send(
            {
                "id": request["id"],
                "status": status,
                "reason": ended.detail,
                "output": ""
                if status == "ran"
                else ended.output[-2000:].decode("utf-8", "replace"),
                "code": ended.status,
                "grown": ended.peak_bytes - self.resident,
                "position": session.HEADER.unpack_from(self.memory, 0)[0],
                "outcomes": marks.replace(b"\0", b" ").decode("latin-1"),
                "began": began,
                "ended": time.monotonic(),
            },
            bytes(data),
        )


def write_edit(server: Server, edit: Optional[Dict[str, Any]]) -> Optional[bytes]:
    """Make the change a file in the fork's overlay; returns the first file's new bytes."""
    if edit is None:
        return None
    by_path = {}  # type: Dict[str, List[Dict[str, Any]]]
    for one in [edit, *edit.get("others", [])]:
        by_path.setdefault(one["path"], []).append(one)
    for path, changes in by_path.items():
        changed = server.base(path)
        # From the end: what is changed already does not move what is still to be changed.
        for one in sorted(changes, key=lambda one: -int(one["start"])):
            after = str(one["after"]).encode()
            changed = changed[: one["start"]] + after + changed[one["end"] :]
        with open(ROOT + path, "wb") as file:
            file.write(changed)
        if path == edit["path"]:
            first = changed
    return first


def fresh_work(
    server: Server, begin: Callable[[List[Any]], int]
) -> Callable[[Request, session.Channel], None]:
    """What a fork of the fresh lane does; `begin` has pytest go on with these plugins."""

    def work(request: Request, channel: session.Channel) -> None:
        write_edit(server, request.get("edit"))
        selected = request.get("tests")
        suite = server.suite
        wanted = None
        skipped = frozenset()  # type: Any
        if selected is not None:
            wanted = {suite.ids[index]: place for place, index in enumerate(selected)}
            needed = {suite.paths[index] for index in selected}
            skipped = suite.files - needed
        order = dict(wanted or {})
        expected = [suite.seconds[index] for index in selected] if selected is not None else []
        recorder = session.Recorder()
        recorder.begin(channel, order, expected, request)
        timers = recorder.timers
        assert timers is not None
        if request.get("lines") and (can_watch_cheaply() or not request.get("cheaply")):
            recorder.lines = line_map({ROOT + p: i for i, p in enumerate(request["lines"])})

        reach = Reach([ROOT + path for path in request["reach"]]) if "reach" in request else None

        def on_collected(pytest_session: Any) -> None:
            session.settle()
            if reach is not None and reach.is_whole():
                pytest_session.items[:] = []
            if wanted is None:
                for item in pytest_session.items:
                    order.setdefault(item.nodeid, len(order))
                channel.send(
                    collected=[
                        (item.nodeid, item.location[0], (item.location[1] or 0) + 1)
                        for item in pytest_session.items
                        if not item.nodeid.endswith(session.CANARY)
                    ]
                )
                recorder.expected = [request["default_seconds"]] * len(order)
            if recorder.lines is not None:
                taken = recorder.lines.take()
                channel.send(imported={str(name): sorted(found) for name, found in taken.items()})
            channel.send(collected_at=time.monotonic())
            if request.get("plain"):
                recorder.plain = plain.PlainTests(pytest_session)

        def on_run(pytest_session: Any) -> None:
            if request.get("leftovers"):
                timers.disarm()
                channel.send(leftovers=leftovers.found(pytest_session.config))

        plugin = session.FreshPlugin(
            recorder,
            wanted=wanted,
            skip_files=skipped.__contains__,
            shuffle=request.get("shuffle"),
            on_collected=on_collected,
            on_run=on_run,
            canary=bool(request.get("canary")),
        )
        if recorder.lines is not None:
            recorder.lines.start()
        # Import and collection have their time too: no test is running yet.
        timers.arm(request["collect_seconds"])
        plugins = [plugin, recorder]
        if recorder.lines is not None:
            plugins.append(session.FixtureLines(recorder))
        code = begin(plugins)
        timers.disarm()
        if reach is not None:
            channel.send(reach=reach.found())
        channel.send(
            exit=int(code), canary=recorder.canary_failed, collect_errors=plugin.collect_errors[:20]
        )

    return work


class StagePlugin:
    """Stands where pytest is configured and about to collect, and serves from there."""

    def __init__(self, serve: Callable[[Any], object]) -> None:
        self.serve = serve

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: Any) -> bool:
        self.serve(session)
        os._exit(0)


def can_stage(config: Dict[str, Any]) -> bool:
    """Try, in a fork, whether pytest can be configured without importing what it is to judge."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            os.close(reading)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)
            say = StagePlugin(
                lambda _: os.write(
                    writing, b"n" if imported_sources() or isolate.threads() > 1 else b"y"
                )
            )
            pytest.main(list(config["args"]), plugins=[say])
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    # What a conftest started may live on and hold the pipe: its end is not waited for.
    os.set_blocking(reading, False)
    try:
        said = os.read(reading, 1)
    except BlockingIOError:
        said = b""
    os.close(reading)
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return said == b"y"
    # It left a process behind, and would again.
    return False


def imported_sources() -> List[str]:
    """Files of the repository that this process has imported, test code left out."""
    files = [str(getattr(module, "__file__", None)) for module in list(sys.modules.values())]
    return sorted(
        name[len(ROOT) :] for name in files if name.startswith(ROOT) and not _is_test_code(name)
    )


def _is_test_code(name: str) -> bool:
    """A conftest file, or the package of tests that it stands in: never a file that changes."""
    parts = name.split("/")
    return parts[-1] == "conftest.py" or (
        parts[-1] == "__init__.py" and parts[-2] in ("tests", "test")
    )


def serve_staged(server: Server, pytest_session: Any) -> None:
    """Serve the fresh lane from where pytest is about to collect."""
    config = pytest_session.config
    stage = next(p for p in config.pluginmanager.get_plugins() if isinstance(p, StagePlugin))
    config.pluginmanager.unregister(stage)

    def begin(plugins: List[Any]) -> int:
        for plugin in plugins:
            config.pluginmanager.register(plugin)
        try:
            config.hook.pytest_collection(session=pytest_session)
            config.hook.pytest_runtestloop(session=pytest_session)
        except (KeyboardInterrupt, SystemExit, pytest.exit.Exception):
            return int(pytest.ExitCode.INTERRUPTED)
        except pytest_session.Interrupted:
            return int(pytest.ExitCode.INTERRUPTED)
        except pytest.UsageError:
            return int(pytest.ExitCode.USAGE_ERROR)
        except BaseException:  # pytest or a plugin broke: its own hook records it
            config.notify_exception(pytest.ExceptionInfo.from_current(), config.option)
            return int(pytest.ExitCode.INTERNAL_ERROR)
        return int(pytest.ExitCode.TESTS_FAILED if pytest_session.testsfailed else 0)

    server.work = fresh_work(server, begin)
    gc.collect()
    server.send({"id": 0, "status": "ready", "threads": isolate.threads(), "items": 0})
    server.serve()


class WarmPlugin:
    """Stands in pytest's run loop and serves from there."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.errors = []  # type: List[str]

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.errors.append(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool:
        serve_warm(self.server, session)
        # The critic hung up: nothing of pytest's ending is wanted.
        os._exit(0)


def serve_warm(server: Server, pytest_session: Any) -> None:
    """Serve the warm lane from inside pytest's run loop."""
    by_id = {item.nodeid: item for item in pytest_session.items}
    session.silence(pytest_session.config)
    session.settle()
    live = swap.live_functions(ROOT)
    suspended = swap.suspended(ROOT)
    compiled = {}  # type: Dict[Any, Any]
    threads = isolate.threads()
    # What every fork would compute for itself is computed here once.
    recorder = session.Recorder()
    pytest_session.config.pluginmanager.register(recorder, "flywheel-recorder")
    plain_tests = plain.PlainTests(pytest_session)
    for item in pytest_session.items:
        item.location  # noqa: B018  (a cached property)
        plain_tests.arguments(item)

    def prepare(request: Request) -> None:
        """Compile the unchanged statement once, here, where the forks inherit it."""
        edit = request.get("edit")
        if edit is None:
            return
        key = (edit["path"], edit["segment"][0])
        if key not in compiled:
            if len(compiled) > 512:
                compiled.clear()
            start, end = edit["segment"]
            compiled[key] = swap.compile_statement(
                server.base(edit["path"])[start:end].decode(), edit, ROOT + edit["path"]
            )

    def work(request: Request, channel: session.Channel) -> None:
        edit = request.get("edit")
        suite = server.suite
        if edit is not None:
            changed = write_edit(server, edit)
            assert changed is not None
            start, end = edit["segment"]
            end += len(changed) - len(server.base(edit["path"]))
            filename = ROOT + edit["path"]
            try:
                new = swap.compile_statement(changed[start:end].decode(), edit, filename)
                swaps = swap.pairs(compiled[(edit["path"], start)], new)
                if swap.kind_changed(swaps) and not request.get("by_function"):
                    channel.send(refused="kind")
                    return
                swap.apply(swaps, live, suspended, filename)
            except swap.NoChange:
                channel.send(refused="same-bytecode")
                return
            except swap.Structural as error:
                channel.send(refused="structural", why=str(error))
                return
            except (SyntaxError, ValueError) as error:
                channel.send(refused="unparsable", why=str(error))
                return
            channel.send(patched=time.monotonic())
        selected = request["tests"]
        order = {suite.ids[index]: place for place, index in enumerate(selected)}
        items = [by_id[suite.ids[index]] for index in selected]
        expected = [suite.seconds[index] for index in selected]
        recorder.begin(channel, order, expected, request)
        recorder.plain = plain_tests if request.get("plain") else None
        recorder.run(items)
        if request.get("patterns"):
            channel.send(patterns=compiled_patterns())

    server.prepare = prepare
    server.work = work
    gc.collect()
    server.send(
        {
            "id": 0,
            "status": "ready",
            "threads": threads,
            "items": len(by_id),
            "plain": sum(found is not None for found in plain_tests.known.values()),
        },
        json.dumps(list(by_id)).encode(),
    )
    server.serve()


def main(
    lane: str, connection: socket.socket, config: Dict[str, Any], isolation: isolate.Isolation
) -> None:
    """Serve one lane until the critic hangs up."""
    sys.path[:] = [entry for entry in sys.path if entry not in ("", "/flywheel")]
    sys.path[:0] = ["/repo", *config["pythonpath"]]
    server = Server(connection, config, isolation)
    if lane == "fresh":
        server.compiled = session.CompiledTests()
        preload()
        if can_stage(config):
            # Returns only where pytest now fails before it collects: each fork then says so.
            pytest.main(
                list(config["args"]),
                plugins=[StagePlugin(lambda session: serve_staged(server, session))],
            )

        def begin(plugins: List[Any]) -> int:
            return int(pytest.main(list(config["args"]), plugins=plugins))

        server.work = fresh_work(server, begin)
        gc.collect()
        server.send(
            {
                "id": 0,
                "status": "ready",
                "threads": isolate.threads(),
                "items": 0,
                "imported": imported_sources(),
            }
        )
        server.serve()
        return
    plugin = WarmPlugin(server)
    code = pytest.main(list(config["args"]), plugins=[plugin])
    server.send({"id": 0, "status": "failed", "code": int(code), "errors": plugin.errors[:20]})


def _test_files(paths: List[str]) -> List[str]:
    """Test files and the conftest files above them."""
    found = dict.fromkeys(paths)
    for path in paths:
        folder = os.path.dirname(path)
        while folder.startswith(ROOT.rstrip("/")):
            conftest = os.path.join(folder, "conftest.py")
            if conftest not in found and os.path.exists(conftest):
                found[conftest] = None
            folder = os.path.dirname(folder)
    return [path for path in found if path.endswith(".py")]


def compiled_patterns() -> List[Any]:
    """The regular expressions in the cache of `re`: pattern, flags."""
    return [
        (pattern, int(flags))
        for kind, pattern, flags in getattr(re, "_cache", ())
        if kind is str and type(pattern) is str
    ]


def compile_patterns(patterns: List[Any]) -> None:
    """Put regular expressions in the cache of `re`, where every fork finds them compiled.

    A pattern never changes once it is compiled, so nothing can tell but the clock. One that warns
    is left out: a test may look for the warning.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for pattern, flags in patterns:
            try:
                re.compile(pattern, flags)
            except Exception:  # a fork meets it again, where it matters
                continue


def preload() -> None:
    """Import what every pytest run imports, so that forks share it; nothing of the target."""
    for name in (
        "_pytest.assertion.rewrite",
        "_pytest.capture",
        "_pytest.doctest",
        "_pytest.junitxml",
        "_pytest.logging",
        "_pytest.monkeypatch",
        "_pytest.python",
        "_pytest.subtests",
        "_pytest.tmpdir",
        "_pytest.unittest",
        "unittest.mock",
        "doctest",
        "difflib",
        "pdb",
    ):
        try:
            __import__(name)
        except ImportError:
            continue
