"""Plain tests: those for which pytest would do nothing but call a function.

Around each test pytest calls some sixty hooks, a third of a millisecond in all; of a suite of
many small tests that is most of the time. A test is plain when none of it can matter: a function
without fixtures other than its parameters, without marks that act, and no plugin beyond pytest's
own takes part in running tests. A plain test is called here, inside what pytest's own plugins
would give it: the warning filters, the log handlers, captured output, explained comparisons and
`PYTEST_CURRENT_TEST`. It is used for first runs; confirmations go by pytest's protocol, so what
is stored never rests on this.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import types
import unittest
import warnings
from typing import Any, Dict, Optional

import pytest

HOOKS = (
    "pytest_runtest_protocol",
    "pytest_runtest_logstart",
    "pytest_runtest_logfinish",
    "pytest_runtest_setup",
    "pytest_runtest_call",
    "pytest_runtest_teardown",
    "pytest_runtest_makereport",
    "pytest_runtest_logreport",
    "pytest_pyfunc_call",
    "pytest_fixture_setup",
    "pytest_fixture_post_finalizer",
    "pytest_exception_interact",
    "pytest_warning_recorded",
)
"""Hooks called while a test runs; where a plugin that may act in one is there, no test is plain."""
BYSTANDERS = (
    "_pytest.",
    "flywheel_runner.",
    "anyio.",
    "pytest_asyncio.",
    "_hypothesis_pytestplugin",
)
"""Modules whose hooks leave a plain test alone: pytest's own, and such as act on coroutines or on
what hypothesis has decorated, which is never plain."""
ACTING_MARKS = frozenset(["skip", "skipif", "xfail", "filterwarnings", "usefixtures"])
ACTING_ATTRIBUTES = frozenset(["is_hypothesis_test", "setup", "teardown"])
"""What hypothesis and nose hang on a function."""
PACKAGE_SETUP = ("setup_module", "setUpModule", "teardown_module", "tearDownModule")
SKIPPED = (pytest.skip.Exception, unittest.SkipTest)
STOPS = (pytest.exit.Exception, KeyboardInterrupt)
"""What ends a whole run, not a test."""


class NotPlain(Exception):
    """The test is to be run by pytest's protocol after all."""


class PlainTests:
    """Tells which tests are plain, and calls them."""

    def __init__(self, session: Any) -> None:
        config = session.config
        self.session = session
        self.known = {}  # type: Dict[str, Optional[Dict[str, Any]]]
        """Test id -> arguments of a plain test, None of any other."""
        self.collectors = {}  # type: Dict[Any, bool]
        try:
            self.usable = _is_only_pytest(config) and self._adopt(config)
        except Exception:  # another pytest than those this was written against
            self.usable = False

    def _adopt(self, config: Any) -> bool:
        """Take from pytest's plugins what they put around a test; False where one is missing."""
        from _pytest.assertion import pytest_runtest_protocol as explain
        from _pytest.logging import catching_logs
        from _pytest.warnings import catch_warnings_for_item

        with catch_warnings_for_item(config=config, ihook=config.hook, when="runtest", item=None):
            self.filters = list(warnings.filters)  # type: Any
        # What `__del__` and threads raise becomes a warning, and that a failure where it is asked.
        threads = importlib.import_module("_pytest.threadexception")
        destroyed = importlib.import_module("_pytest.unraisableexception")
        self.late = self.watching = ()  # type: Any
        if hasattr(destroyed, "collect_unraisable"):
            self.late = (threads.collect_thread_exception, destroyed.collect_unraisable)
        elif any(one[0] == "error" for one in self.filters):
            # pytest before 8.4
            self.watching = (
                threads.catch_threading_exception,
                destroyed.catch_unraisable_exception,
            )
        manager = config.pluginmanager
        self.capture = manager.getplugin("capturemanager")
        logs = manager.getplugin("logging-plugin")
        if self.capture is None or logs is None:
            return False
        self.handlers = [
            (handler, logs.log_level) for handler in (logs.caplog_handler, logs.report_handler)
        ]
        self.catching_logs = catching_logs
        self.explain = explain
        return isinstance(self.session._setupstate.stack, dict)

    # -- which are plain -----------------------------------------------------------------

    def arguments(self, item: Any) -> Optional[Dict[str, Any]]:
        """Arguments to call the test with, None when it is not plain."""
        key = item.nodeid
        if key not in self.known:
            try:
                self.known[key] = self._arguments(item) if self.usable else None
            except AttributeError:
                self.known[key] = None
        return self.known[key]

    def _arguments(self, item: Any) -> Optional[Dict[str, Any]]:
        if type(item) is not pytest.Function or not ACTING_MARKS.isdisjoint(
            mark.name for mark in item.iter_markers()
        ):
            return None
        if not {"runtest", "setup", "teardown"}.isdisjoint(item.__dict__):
            return None
        function = getattr(item.obj, "__func__", item.obj)
        if type(function) is not types.FunctionType or not ACTING_ATTRIBUTES.isdisjoint(
            function.__dict__
        ):
            return None
        unwrapped = inspect.unwrap(function)
        for one in (function, unwrapped):
            if (
                inspect.iscoroutinefunction(one)
                or inspect.isgeneratorfunction(one)
                or inspect.isasyncgenfunction(one)
            ):
                return None
        if not self._is_plain_below(item.parent):
            return None
        given = getattr(getattr(item, "callspec", None), "params", {})
        definitions = item._fixtureinfo.name2fixturedefs
        for name in {*item.fixturenames, *item._fixtureinfo.argnames}:
            if name not in given or not definitions.get(name):
                return None
            made_by = definitions[name][-1].func
            if getattr(made_by, "__name__", "") != "get_direct_param_fixture_func":
                return None
        return {name: given[name] for name in item._fixtureinfo.argnames}

    def _is_plain_below(self, node: Any) -> bool:
        """Whether setting up a collector and all above it does nothing."""
        if node is None:
            return True
        if node not in self.collectors:
            kind = type(node)
            plain = kind.__module__ in ("_pytest.main", "_pytest.python")
            if plain and isinstance(node, pytest.Package):
                plain = not _sets_up(str(node.path))
            self.collectors[node] = plain and self._is_plain_below(node.parent)
        return self.collectors[node]

    def takes(self, item: Any) -> bool:
        """Whether this test may be called now: it is plain, and nothing waits to be torn down."""
        if self.arguments(item) is None:
            return False
        stack = self.session._setupstate.stack
        return all(
            node is self.session or (len(finalizers) == 1 and error is None)
            for node, (finalizers, error) in stack.items()
        )

    # -- calling one ---------------------------------------------------------------------

    def call(self, item: Any, *, explained: bool) -> Optional[BaseException]:
        """Call a plain test; the exception that it ended with, None when it passed.

        With `explained`, a failed comparison says how its sides differ. Raises `NotPlain` when
        pytest has more to say: of a value returned, of an exception that nothing could catch.
        """
        arguments = self.known[item.nodeid]
        assert arguments is not None
        os.environ["PYTEST_CURRENT_TEST"] = ("%s (call)" % item.nodeid).replace("\x00", "(null)")
        self.capture.resume_global_capture()
        self.streams = {"stdout": sys.stdout, "stderr": sys.stderr}
        explaining = None
        if explained:
            explaining = self.explain(item)
            next(explaining)
        (first, level), (second, _) = self.handlers
        try:
            with warnings.catch_warnings(record=True):
                warnings.filters[:] = self.filters  # type: ignore[index]
                with self.catching_logs(first, level), self.catching_logs(second, level):
                    first.reset()
                    second.reset()
                    self._call(item, arguments)
        except (NotPlain, *STOPS):
            raise
        except BaseException as error:
            return error
        finally:
            if explaining is not None:
                explaining.close()
            self._forget_output()
        return None

    def _call(self, item: Any, arguments: Dict[str, Any]) -> None:
        if self.watching:
            thread, destroyed = self.watching
            with thread() as in_thread, destroyed() as unraisable:
                returned = item.obj(**arguments)
                if getattr(in_thread, "args", None) or unraisable.unraisable:
                    raise NotPlain
        else:
            returned = item.obj(**arguments)
            for collect in self.late:
                collect(item.config)
        if returned is not None:
            raise NotPlain

    def leave(self, following: Any) -> None:
        """After a plain test: pytest's stack may hold no collector that the next is not in."""
        if following is None:
            return
        state = self.session._setupstate
        if state.stack and next(reversed(state.stack)) not in following.listchain():
            state.teardown_exact(following)

    def _forget_output(self) -> None:
        """What a test prints is not kept, and streams that it replaced are put back."""
        capturing = self.capture._global_capturing
        if capturing is None:
            return
        for stream, name in ((capturing.out, "stdout"), (capturing.err, "stderr")):
            if stream is None:
                continue
            if getattr(sys, name) is not self.streams[name]:
                self.capture.suspend_global_capture(in_=False)
            if stream.tmpfile.tell():
                self.capture.read_global_capture()


def _is_only_pytest(config: Any) -> bool:
    """Whether nothing but pytest itself, and nothing unusual of it, takes part in a test."""
    option = config.option
    if any(getattr(option, name, False) for name in ("setuponly", "setupshow", "setupplan")):
        return False
    if getattr(option, "usepdb", False) or getattr(option, "trace", False):
        return False
    if float(config.getini("faulthandler_timeout") or 0.0) > 0:
        return False
    for name in HOOKS:
        for found in getattr(config.hook, name).get_hookimpls():
            module = getattr(found.function, "__module__", "")
            if not (module + ".").startswith(BYSTANDERS):
                return False
    return not config.hook.pytest_assertion_pass.get_hookimpls()


def _sets_up(folder: str) -> bool:
    """Whether a package's `__init__.py` may hold the hooks of xunit."""
    path = os.path.join(folder, "__init__.py")
    path = folder if folder.endswith(".py") else path
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return True
    return any(name in text for name in PACKAGE_SETUP)
