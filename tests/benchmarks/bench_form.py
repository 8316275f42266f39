"""What the form of a question is worth: the share of answers that are candidates.

    python tests/benchmarks/bench_form.py FILE.py … [--modes insert,refactor] [--questions 20]

Asks the local model the same questions in older forms and in the one that is used now: the line
named by its number, then by copying it, then after a worked example; whole functions as a text
within JSON, then in a block of code after a worked example. Nothing is judged. Prints a table in
Markdown, each share with its 95 % interval.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flywheel.candidates import NotReady, choose_modes
from flywheel.candidates.written import Mode, WrittenSource
from flywheel.core.records import Candidate
from flywheel.lm import Engine, Journal, Message, Purpose, Request, Role
from flywheel.store import wilson

FOR = Purpose(Role.GENERATOR, "bench", "run")
BY_NUMBER = (
    "Choose one line between {first} and {last} and write it anew so that the function goes wrong"
    ' for some inputs. Answer with JSON,\n{"line": the number of the line, "code": the whole new'
    " line}, and nothing else."
)
IN_JSON = 'JSON, {"code": the whole function, its first line included}, and nothing else.'
Form = Callable[[Request], Request]


def by_number(request: Request) -> Request:
    """Lines are named by their numbers; no example."""
    schema: dict[str, Any] = {**(request.schema or {})}
    fields: Mapping[str, Any] = schema["properties"]
    numbers = [int(line.partition(":")[0]) for line in fields["line"]["enum"]]
    schema["properties"] = {**fields, "line": {"enum": numbers}}
    head, _, _ = request.messages[-1].text.partition("Change one line")
    tail = BY_NUMBER.replace("{first}", str(numbers[0])).replace("{last}", str(numbers[-1]))
    return replace(request, messages=(Message("user", head + tail),), schema=schema)


def alone(request: Request) -> Request:
    """Without the worked example."""
    return replace(request, messages=request.messages[-1:])


def in_json(request: Request) -> Request:
    """The function as a text within JSON; no example."""
    head, _, _ = request.messages[-1].text.rpartition("Answer with ")
    schema = {
        "type": "object",
        "properties": {"code": {"type": "string", "minLength": 1}},
        "required": ["code"],
        "additionalProperties": False,
    }
    message = Message("user", f"{head}Answer with {IN_JSON}")
    return replace(request, messages=(message,), schema=schema)


OF_LINES: tuple[tuple[str, Form], ...] = (
    ("line by its number", by_number),
    ("line copied", alone),
    ("line copied, an example", lambda one: one),
)
OF_FUNCTIONS: tuple[tuple[str, Form], ...] = (
    ("within JSON", in_json),
    ("block of code", alone),
    ("block of code, an example", lambda one: one),
)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--modes", default="", help="insert, reimplement …; else all")
    parser.add_argument("--questions", type=int, default=20)
    wanted = parser.parse_args()
    names = tuple(name for name in wanted.modes.split(",") if name)
    contents = {str(path): path.read_bytes() for path in wanted.files}
    print(
        "| mode | form | answers | candidates | 95 % | reasons |\n"
        "| --- | --- | ---: | ---: | --- | --- |"
    )
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "lm.sqlite")
        with Engine({}, journal) as engine:
            for mode in choose_modes(names):
                for name, form in OF_LINES if mode.answer == "line" else OF_FUNCTIONS:

                    def ask(request: Request, _: Mode, form: Form = form) -> Any:
                        return engine.submit(form(request), FOR)

                    source = WrittenSource(
                        contents, ask=ask, modes=[mode], covered=lambda path: None, seed=0
                    )
                    source.questions(wanted.questions)
                    drawn = 0
                    while (one := source.draw()) is not None:
                        drawn += isinstance(one, Candidate)
                        assert isinstance(one, Candidate | NotReady)
                    reasons = Counter(source.pruned).most_common()
                    told = ", ".join(f"{n} {reason}" for reason, n in reasons)
                    share = wilson(drawn, source.made)
                    print(
                        f"| {mode.name} | {name} | {source.made} | {drawn}"
                        f" | {share.low:.0%} to {share.high:.0%} | {told} |",
                        flush=True,
                    )
        journal.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
