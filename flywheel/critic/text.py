"""Text of failures, free of what differs from run to run.

The same failure must give the same text: addresses, temporary names, times and process ids go,
paths become relative to the repository.
"""

from __future__ import annotations

import re

_FOLDERS: tuple[tuple[str, re.Pattern[str], str], ...] = (
    ("/repo/", re.compile(r"/repo/"), ""),
    ("/env/", re.compile(r"/env/lib/python3\.\d+/site-packages/"), "<site-packages>/"),
    # Anchored to the beginning of a word, or a long one takes the square of its length.
    ("/lib/py", re.compile(r"(?<!\S)([^\s/]*)/\S*/lib/python3\.\d+/"), r"\1<python>/"),
    ("/rustc-", re.compile(r"(?<!\S)([^\s/]*)/\S*/rustc-\d[\w.]*/"), r"\1<rust>/"),
)
"""Rules of which each has a text without which it does not match."""

_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b0x[0-9a-fA-F]{6,16}\b"), "0x..."),
    (re.compile(r"/tmp/pytest-of-[\w-]+/pytest-\d+"), "<tmp>"),
    (re.compile(r"/tmp/tmp[a-z0-9_]{8}"), "<tmp>"),
    (re.compile(r"\btmp[a-z0-9_]{8}\b"), "tmp..."),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\.\d+"), "<time>"),
    (re.compile(r"\b(pid|PID)([ =:]+)\d+"), r"\1\2..."),
    # Go: offsets of frames, numbers of goroutines, folders of tests and of builds, the log's time.
    (re.compile(r"(\.(?:go|s):\d+) \+0x[0-9a-f]+"), r"\1"),
    (re.compile(r"0x\.\.\.\?"), "0x..."),
    (re.compile(r"\bgoroutine \d+\b"), "goroutine"),
    (re.compile(r"/tmp/(?:Test|Fuzz|Benchmark|Example)\w*?\d{6,}(?:/\d{3})?\b"), "<tmp>"),
    (re.compile(r"/tmp/go-build\d+"), "<tmp>"),
    (re.compile(r"\b\d{4}/\d\d/\d\d \d\d:\d\d:\d\d(?:\.\d+)?"), "<time>"),
    # Rust: ids of threads, hashes of compiled targets, the compiler's own sources, tempfile.
    (re.compile(r"(?m)^(thread '[^'\n]*') \(\d+\) "), r"\1 "),
    (re.compile(r"(/deps/[\w-]+)-[0-9a-f]{16}\b"), r"\1"),
    (re.compile(r"/rustc/[0-9a-f]{40}/"), "<rust>/"),
    (re.compile(r"/tmp/\.tmp\w{6}\b"), "<tmp>"),
    # Erlang: processes, references, ports, and the time before a line of the logger.
    (re.compile(r"#(PID|Ref|Reference|Port)<[\d.]+>"), r"#\1<...>"),
    (re.compile(r"(?m)^\d\d:\d\d:\d\d\.\d{3} (?=\[)"), ""),
    # Node: the process's id before a warning, folders of mkdtemp.
    (re.compile(r"\(node:\d+\) "), "(node) "),
    (re.compile(r"/tmp/[A-Za-z][\w.]*[-_](?=\w*[A-Z0-9])[A-Za-z0-9]{6}\b"), "<tmp>"),
    # All of them: durations in parentheses, ports that the system chose.
    (re.compile(r"\(\d+(?:\.\d+)?(?:e-\d+)? ?(?:ns|[uµm]s|s|sec|seconds)\)"), "(<time>)"),
    (re.compile(r"\b(127\.0\.0\.1|localhost|\[::1?\]):[3-6]\d{4}\b"), r"\1:<port>"),
)


_FRAME = re.compile(r'^  File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<name>.+)$')


def folded(count: int) -> str:
    """The line that stands for `count` frames of libraries."""
    return f"    [{count} library frame{'' if count == 1 else 's'}]"


def trim_stack(dump: str) -> str:
    """The stack that `faulthandler` dumped, as our tracebacks are: oldest first, library folded.

    What lies above the first frame of the repository is the test framework and is left out.
    """
    lines: list[str] = []
    library = 0
    for raw in reversed(dump.splitlines()):
        frame = _FRAME.match(raw)
        if frame is None:
            continue
        if not frame["file"].startswith("/repo/"):
            library += bool(lines)
            continue
        if library:
            lines.append(folded(library))
            library = 0
        path = frame["file"].removeprefix("/repo/")
        lines.append(f"{path}:{frame['line']}: in {frame['name']}")
    if library:
        lines.append(folded(library))
    return "\n".join(lines)


_ADDRESS = "0x..."
_MARKED = re.compile(rf"^(?P<line>.*{re.escape(_ADDRESS)}.*)\n[E ]*\? [ +^-]+$", re.MULTILINE)
"""A line of a diff with an address in it, and below it the marks of where the lines differ."""


def clean(text: str) -> str:
    """`text` with run-to-run noise taken out; the same input gives the same output."""
    for needle, pattern, replacement in _FOLDERS:
        if needle in text:
            text = pattern.sub(replacement, text)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return _MARKED.sub(r"\g<line>", text) if _ADDRESS in text else text


_TAIL = 2000
"""Characters of a program's output that are shown."""


def tail(output: str) -> str:
    """The end of what a program printed, cleaned."""
    # Cut first, since cleaning takes its time, and again: what it replaced was wider.
    return clean(output[-4 * _TAIL :]).strip()[-_TAIL:]
