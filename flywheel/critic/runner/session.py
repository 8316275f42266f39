"""Running selected tests under pytest's own protocol, and reporting what they said.

One plugin serves both lanes. In the warm lane pytest has collected the suite in the server and
stands in its run loop; a fork runs some of the items. In the fresh lane the fork collects, and
calls `pytest.main` itself where the server cannot stand before collection; the package is
imported from the changed tree.

Per test one character is kept in memory shared with the server, so that a killed run still
says how far it came: `.` passed, `F` failed, `E` error, `s` skipped, `x` expected failure,
`T` ran out of time, space: did not run.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import signal
import struct
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Sequence

import pytest
from _pytest.assertion import util as _assertion

from flywheel_runner import plain, render

HEADER = struct.Struct("<i")
"""Head of the shared memory: position of the test that runs, -1 before the first."""
DETAILS = 3
"""Failures rendered whole; of the rest the id, phase, type and message are kept."""
CANARY = "flywheel::canary"
"""Id of the planted test that must fail."""


class Channel:
    """The way back to the server: JSON lines on a pipe, outcomes in shared memory."""

    def __init__(self, descriptor: int, memory: Any) -> None:
        self.descriptor = descriptor
        self.memory = memory

    def send(self, **message: Any) -> None:
        data = json.dumps(message, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
        while data:
            data = data[os.write(self.descriptor, data) :]

    def begin(self, position: int) -> None:
        HEADER.pack_into(self.memory, 0, position)

    def mark(self, position: int, outcome: str) -> None:
        self.memory[HEADER.size + position] = ord(outcome)


class Timers:
    """Time limits inside the worker: CPU and wall, the hanging stack dumped, then death.

    `faulthandler` prints from its signal handler in C, so a loop that swallows exceptions or
    never returns to the interpreter is caught too; chaining lets the default action kill.
    """

    def __init__(self, descriptor: int, request: Dict[str, Any]) -> None:
        self.floor = request["floor"]  # type: float
        self.factor = request["factor"]  # type: float
        self.wall_factor = request["wall_factor"]  # type: float
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        for number in (signal.SIGPROF, signal.SIGALRM):
            faulthandler.register(number, file=descriptor, all_threads=False, chain=True)

    def arm(self, expected: float) -> None:
        """Give the next test its time: `expected` seconds is what the baseline took."""
        cpu = max(self.floor, self.factor * expected)
        signal.setitimer(signal.ITIMER_PROF, cpu)
        signal.setitimer(signal.ITIMER_REAL, self.wall_factor * cpu)

    def disarm(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


class Canary(pytest.Item):
    """A test that must fail; when it does not, something forges the reports."""

    @staticmethod
    def obj() -> None:
        """Plugins look at the function behind an item."""
        raise AssertionError("canary")

    def runtest(self) -> None:
        self.obj()

    def reportinfo(self) -> Any:
        return self.path if hasattr(self, "path") else self.fspath, 0, CANARY


class Recorder:
    """pytest plugin: cheap reports, outcomes by position, line map by test."""

    def __init__(self) -> None:
        self.channel = None  # type: Any
        self.order = {}  # type: Dict[str, int]
        """Test id -> position in the selection."""
        self.expected = ()  # type: Sequence[float]
        """Seconds each selected test took in the baseline, by position."""
        self.outcomes = {}  # type: Dict[int, str]
        self.rendered = 0
        self.timers = None  # type: Optional[Timers]
        self.lines = None  # type: Any
        self.running = -1
        self.buckets = [(-1, None, {})]  # type: List[Any]
        """For each look at the lines: position that ran, fixture that was set up, lines."""
        self.users = {}  # type: Dict[int, List[int]]
        """Identity of a fixture that tests share -> positions of those that use it."""
        self.want_times = False
        self.canary_failed = False
        self.fail_fast = False
        self.plain = None  # type: Optional[plain.PlainTests]
        """Calls plain tests without pytest's protocol; None when all are to go by it."""
        self.by_protocol = frozenset()  # type: Any
        """Positions of tests that are to go by it whether plain or not."""

    def begin(
        self,
        channel: Channel,
        order: Dict[str, int],
        expected: Sequence[float],
        request: Dict[str, Any],
    ) -> None:
        """Take up one request, in the fork."""
        self.channel = channel
        self.order = order
        self.expected = expected
        self.fail_fast = bool(request.get("fail_fast"))
        self.want_times = bool(request.get("times"))
        kept = frozenset(request.get("protocol", ()))
        selected = request.get("tests") or ()
        self.by_protocol = {place for place, index in enumerate(selected) if index in kept}
        self.timers = Timers(channel.descriptor, request)

    # -- reports -------------------------------------------------------------------------

    def pytest_runtest_makereport(self, item: Any, call: Any) -> Any:
        """pytest's own report without the cost of its traceback text."""
        excinfo = call.excinfo
        longrepr = None  # type: Any
        details = None
        if excinfo is None:
            outcome = "passed"
        elif isinstance(excinfo.value, pytest.skip.Exception):
            outcome = "skipped"
            longrepr = ("", 0, "Skipped: %s" % render.text_of(excinfo.value))
        else:
            outcome = "failed"
            details = self._details(excinfo.value, excinfo.tb, call.when)
            longrepr = details["message"]
        report = pytest.TestReport(
            nodeid=item.nodeid,
            location=item.location,
            keywords={},
            outcome=outcome,  # type: ignore[arg-type]
            longrepr=longrepr,
            when=call.when,
            sections=[],
            duration=call.duration,
            start=call.start,
            stop=call.stop,
            user_properties=item.user_properties,
        )
        report.flywheel = details  # type: ignore[attr-defined]
        return report

    def _details(self, error: BaseException, tb: Any, phase: str) -> Dict[str, str]:
        """Columns of a failure: of the first few with the traceback, of the rest in short."""
        if self.rendered < DETAILS:
            return render.failure(error, tb, phase)
        return {
            "phase": phase,
            "type": type(error).__name__,
            "message": render.text_of(error).split("\n", 1)[0],
            "assertion": "",
            "traceback": "",
        }

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.nodeid.endswith(CANARY):
            if report.when == "call":
                self.canary_failed = report.outcome == "failed"
            return
        position = self.order.get(report.nodeid)
        if position is None:
            return
        current = self.outcomes.get(position, " ")
        if report.outcome == "failed":
            # A failing sub-test reports like its test; setup and teardown make it an error.
            outcome = "F" if report.when == "call" else "E"
            if current == "F":
                outcome = "F"
            details = getattr(report, "flywheel", None)
            if details is None and current not in "FE":
                details = {
                    "phase": report.when or "call",
                    "type": "XPassed" if "XPASS" in str(report.longrepr) else "Failed",
                    "message": render.text_of(report.longrepr).split("\n", 1)[0],
                    "assertion": "",
                    "traceback": "",
                }
            if details is not None and current not in "FE":
                self.rendered += 1
                self.channel.send(failure=position, **details)
        elif current in "FE":
            return
        elif report.outcome == "skipped":
            outcome = "x" if hasattr(report, "wasxfail") else "s"
        elif report.when == "call":
            outcome = "."
        else:
            return
        self.outcomes[position] = outcome
        self.channel.mark(position, outcome)

    # -- the run of one test -------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: Any) -> None:
        """Comparing two large values costs most of a failure: only the first few are explained."""
        if self.rendered >= DETAILS:
            _assertion._reprcompare = None

    def run(self, items: Sequence[Any]) -> None:
        """pytest's run loop over `items`, with our clock around each test."""
        times = []
        if items:
            # Both values of a failed comparison whole, not cut to a terminal's taste.
            items[0].config.option.verbose = 2
        for index, item in enumerate(items):
            following = items[index + 1] if index + 1 < len(items) else None
            position = self.running = self.order.get(item.nodeid, -1)
            if self.lines is not None:
                self._note_fixtures(item)
            if position >= 0:
                self.channel.begin(position)
                if self.timers is not None:
                    self.timers.arm(self.expected[position] if self.expected else 1.0)
            random.seed(0)
            began = time.perf_counter()
            if self.plain is None or position < 0 or not self._call(item, position, following):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            took = time.perf_counter() - began
            if self.timers is not None:
                self.timers.disarm()
            if self.lines is not None:
                self.take()
            if self.want_times and position >= 0:
                times.append((position, round(took, 6)))
            if self.fail_fast and self.outcomes.get(position) in ("F", "E"):
                break
            if item.session.shouldfail or item.session.shouldstop:
                break
        if times:
            self.channel.send(times=times)
        if self.lines is not None:
            self._send_rest()

    def _call(self, item: Any, position: int, following: Any) -> bool:
        """Run a plain test without pytest's protocol; False when it has to go by it."""
        assert self.plain is not None
        if position in self.by_protocol or not self.plain.takes(item):
            return False
        explained = self.rendered < DETAILS
        if not explained:
            _assertion._reprcompare, _assertion._config = None, item.config
        try:
            error = self.plain.call(item, explained=explained)
        except plain.NotPlain:
            return False
        if error is None:
            outcome = "."
        elif isinstance(error, plain.SKIPPED):
            outcome = "s"
        elif isinstance(error, pytest.xfail.Exception):
            outcome = "x"
        else:
            outcome = "F"
            details = self._details(error, error.__traceback__, "call")
            self.rendered += 1
            self.channel.send(failure=position, **details)
        self.outcomes[position] = outcome
        self.channel.mark(position, outcome)
        self.plain.leave(following)
        return True

    def take(self, fixture: Any = None) -> None:
        """Lines since the last look are of the test that runs, and of all users of `fixture`."""
        taken = self.lines.take()
        self.buckets.append((self.running, fixture, taken if fixture is not None else {}))
        if taken and self.running >= 0:
            self.channel.send(lines=self.running, files=_sorted(taken))

    def _note_fixtures(self, item: Any) -> None:
        known = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
        for definitions in known.values():
            for definition in definitions:
                if definition.scope != "function" and self.running >= 0:
                    self.users.setdefault(id(definition), []).append(self.running)

    def _send_rest(self) -> None:
        """What only the end tells: late lines, and those of fixtures that several tests share."""
        late = self.lines.late()
        for number, (position, fixture, taken) in enumerate(self.buckets):
            found = _sorted(late.get(number, taken))
            if not found:
                continue
            if number == 0:
                self.channel.send(imported=found)
                continue
            if number in late and position >= 0:
                self.channel.send(lines=position, files=found)
            users = self.users.get(id(fixture), []) if fixture is not None else []
            if users:
                self.channel.send(shared=users, files=found)


def _sorted(files: Any) -> Dict[str, List[int]]:
    return {str(name): sorted(found) for name, found in files.items()}


class FixtureLines:
    """Hooks that tell apart what fixtures of a wider scope than a test execute.

    Only the first test that uses such a fixture runs its lines, yet all that use it can tell.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Any:
        if fixturedef.scope == "function":
            yield
            return
        self.recorder.take()
        yield
        self.recorder.take(fixturedef)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        self.recorder.take()

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_post_finalizer(self, fixturedef: Any) -> None:
        if fixturedef.scope != "function":
            self.recorder.take(fixturedef)


class FreshPlugin:
    """Hooks of the fresh lane: choose tests while collecting, then hand over to the recorder."""

    def __init__(
        self,
        recorder: Recorder,
        *,
        wanted: Optional[Dict[str, int]],
        skip_files: Callable[[str], bool],
        shuffle: Optional[int],
        on_collected: Callable[[Any], None],
        on_run: Callable[[Any], None],
        canary: bool,
    ) -> None:
        self.recorder = recorder
        self.wanted = wanted
        self.names = None  # type: Any
        """Names of the functions and classes that hold a wanted test; None when all are wanted."""
        if wanted is not None:
            self.names = {
                part
                for test_id in wanted
                for part in test_id.partition("::")[2].partition("[")[0].split("::")
            }
        self.skip_files = skip_files
        self.shuffle = shuffle
        self.on_collected = on_collected
        self.on_run = on_run
        self.canary = canary
        self.collect_errors = []  # type: List[Dict[str, str]]

    def pytest_ignore_collect(self, collection_path: Any = None) -> Optional[bool]:
        if collection_path is not None and self.skip_files(str(collection_path)):
            return True
        return None

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makeitem(self, name: str) -> Any:
        """Functions and classes that hold no wanted test are not looked into."""
        return [] if self.names is not None and name not in self.names else None

    def pytest_exception_interact(self, node: Any, call: Any, report: Any) -> None:
        """A file that cannot be collected: its exception, before pytest makes text of it."""
        if not isinstance(report, pytest.CollectReport):
            return
        details = render.failure(call.excinfo.value, call.excinfo.tb, "collect")
        cause = call.excinfo.value
        if type(cause).__name__ == "CollectError":
            text = render.text_of(cause)
            details = dict(details, **_collect_error(text))
        details["node"] = node.nodeid
        self.collect_errors.append(details)

    def pytest_internalerror(self, excinfo: Any) -> None:
        """pytest or a plugin of the suite broke: said, so that the critic can say it."""
        details = render.failure(excinfo.value, excinfo.tb, "collect")
        self.recorder.channel.send(internal="%s: %s" % (details["type"], details["message"]))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, session: Any, config: Any, items: List[Any]) -> None:
        wanted = self.wanted
        if wanted is not None:
            items[:] = [item for item in items if item.nodeid in wanted]
            items.sort(key=lambda item: wanted[item.nodeid])
        if self.shuffle is not None:
            chance = random.Random(self.shuffle)
            groups = {}  # type: Dict[str, List[Any]]
            for item in items:
                groups.setdefault(item.nodeid.split("::", 1)[0], []).append(item)
            names = list(groups)
            chance.shuffle(names)
            for name in names:
                chance.shuffle(groups[name])
            items[:] = [item for name in names for item in groups[name]]
        if self.canary:
            items.append(Canary.from_parent(session, name=CANARY))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool:
        self.on_collected(session)
        silence(session.config)
        self.recorder.run(session.items)
        self.on_run(session)
        return True


def _collect_error(text: str) -> Dict[str, str]:
    """pytest wraps import errors of test files in text: take type and message back out."""
    for line in reversed(text.splitlines()):
        line = line.strip()
        if line.startswith("E "):
            line = line[2:].strip()
        head, _, tail = line.partition(":")
        if head.endswith(("Error", "Exception", "Warning")) and " " not in head:
            return {"type": head.rsplit(".", 1)[-1], "message": tail.strip(), "traceback": text}
    return {"traceback": text}


def silence(config: Any) -> None:
    """Take the terminal reporter out of the per-test hooks; plugins still find it."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None:
        return
    for name in (
        "pytest_runtest_logstart",
        "pytest_runtest_logreport",
        "pytest_runtest_logfinish",
        "pytest_warning_recorded",
    ):
        caller = getattr(config.hook, name, None)
        if caller is not None:
            try:
                caller._remove_plugin(reporter)
            except ValueError:
                continue


def settle(hypothesis_too: bool = True) -> None:
    """Fix what would differ from run to run: seeds, hypothesis' deadlines and database."""
    random.seed(0)
    hypothesis = sys.modules.get("hypothesis")
    if hypothesis is not None and hypothesis_too:
        hypothesis.settings.register_profile(
            "flywheel", deadline=None, derandomize=True, database=None
        )
        hypothesis.settings.load_profile("flywheel")


class _NoOptions:
    """Stands for pytest's configuration while test files are compiled ahead."""

    def getini(self, name: str) -> Any:
        return False


class CompiledTests:
    """Test files compiled once, with pytest's rewritten asserts, for all forks to share.

    pytest rewrites and compiles a test file each time it imports it, unless it may write its
    cache beside the file. Compiling runs nothing of the file, so the server may do it.
    """

    def __init__(self) -> None:
        self.cache = {}  # type: Dict[str, Any]
        from _pytest.assertion import rewrite

        self.original = getattr(rewrite, "_rewrite_test", None)
        if self.original is not None:
            rewrite._rewrite_test = self.compiled  # type: ignore[assignment]

    def prepare(self, paths: Sequence[str]) -> None:
        """Compile these files; one that cannot be compiled is left to pytest."""
        from pathlib import Path

        if self.original is None:
            return
        for path in paths:
            try:
                with open(path, "rb") as file:
                    source = file.read()
                self.cache[path] = (source, self.original(Path(path), _NoOptions()))
            except Exception:  # pytest meets it again in the fork and reports it
                continue

    def compiled(self, path: Any, config: Any) -> Any:
        """Takes the place of pytest's own function."""
        kept = self.cache.get(str(path))
        if kept is not None and not config.getini("enable_assertion_pass_hook"):
            with open(str(path), "rb") as file:
                if file.read() == kept[0]:
                    return kept[1]
        assert self.original is not None
        return self.original(path, config)
