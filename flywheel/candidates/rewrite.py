"""Mutation sites of a file that a tree-sitter grammar parses, from operators that are data.

The patterns of all operators are one query, run once over the tree; each match goes to the verb
of its operator, which makes edits of the smallest span that changes. The counterpart of `mutate`:
the same records, the same order everywhere.

It does not know whether a site is worth judging: `prune` and `sample` do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from flywheel.candidates.grammar import Captures, GrammarFile, span_of
from flywheel.candidates.module import Edit, apart
from flywheel.candidates.mutate import Site
from flywheel.candidates.queries import QueryOperator
from flywheel.core.records import Span

if TYPE_CHECKING:
    from tree_sitter import Node

_CAPTURE = re.compile(r"\{(\w+)\}")
_WHOLE_NUMBER = re.compile(r"(0|[1-9][0-9_]*)((?:[iu](?:8|16|32|64|128|size)|n)?)")
_MOST = 10**12
"""Greater numbers are magic, and an off-by-one of them is no likely mistake."""


def sites(
    file: GrammarFile, operators: Iterable[QueryOperator], lines: Set[int] | None = None
) -> Iterator[Site]:
    """Every site of a file in source order.

    `lines`, where given, keeps only sites that those executed lines run into.
    """
    made: dict[tuple[int, int, int, str], tuple[Edit, str]] = {}
    for rank, operator, captures in _matches(file, tuple(operators)):
        for raw in _edits(operator, captures, file):
            edit = apart(raw, file.source)
            span = edit.span
            # An insertion may stand at the border of what is untouched.
            if file.is_untouched(span) or edit.text == file.text(span):
                continue
            made.setdefault((span.start, span.end, rank, edit.text), (edit, operator.name))
    for _, (edit, name) in sorted(made.items()):
        site = file.site(edit, name)
        if lines is None or site.covered_by(lines):
            yield site


def _matches(
    file: GrammarFile, operators: tuple[QueryOperator, ...]
) -> Iterator[tuple[int, QueryOperator, Captures]]:
    owners: dict[str, list[tuple[int, QueryOperator]]] = {}
    for rank, operator in enumerate(operators):
        for pattern in operator.query:
            owners.setdefault(pattern, []).append((rank, operator))
    query = file.grammar.known(tuple(owners))
    for index, captures in file.grammar.matches(query, file.root):
        for rank, operator in owners[query[index]]:
            yield rank, operator, captures


def _edits(operator: QueryOperator, captures: Captures, file: GrammarFile) -> Iterator[Edit]:
    if operator.exchange:
        left, right = captures["left"][0], captures["right"][0]
        if operator.exchange == "any" or _alike(left, right, file):
            yield from _exchanged(left, right, file)
        return
    nodes = captures["at"]
    span = span_of(nodes)
    text = file.text(span)
    if operator.swap:
        yield from (Edit(span, new) for new in operator.swap.get(text, ()))
    elif operator.replace:
        yield from _replaced(operator.replace, span, captures, file)
    elif operator.result:
        function = file.function(span)
        declared = function.result if function is not None else None
        for kind, texts in operator.result.items():
            if declared is not None and fnmatchcase(declared, kind):
                yield from _replaced(texts, span, captures, file)
                break
    elif operator.shift:
        yield from (Edit(span, new) for new in _shifted(text, operator.shift))
    elif operator.remove == "statement":
        parent = file.parent(nodes[0])
        # What is no statement of a block, such as the body of an `else`, cannot be left out.
        if parent is not None and parent.type in file.grammar.rules.structure.blocks:
            yield _without_statement(span, file)
    elif operator.remove == "element":
        yield from _without_element(nodes[0], file)
    else:
        yield from (Edit(span, other) for other in _others(text, span, file))


def _shifted(text: str, steps: Iterable[int]) -> Iterator[str]:
    """A whole number with each step added to it, its suffix kept; nothing for another text."""
    found = _WHOLE_NUMBER.fullmatch(text)
    if found is None or int(found[1]) > _MOST:
        return
    for step in steps:
        if int(found[1]) + step >= 0:
            yield f"{int(found[1]) + step}{found[2]}"


def _replaced(
    texts: Iterable[str], span: Span, captures: Captures, file: GrammarFile
) -> Iterator[Edit]:
    """The texts, captures filled in; where nothing is left, the blanks before go too."""
    for text in texts:
        new = _CAPTURE.sub(
            lambda found: (
                file.text(span_of(captures[found[1]])) if found[1] in captures else found[0]
            ),
            text,
        )
        start = span.start
        if not new:
            before = file.source[file.line_start(start) : start]
            start -= len(before) - len(before.rstrip(b" \t"))
        yield Edit(Span(start, span.end), new)


def _exchanged(left: Node, right: Node, file: GrammarFile) -> Iterator[Edit]:
    parent = file.parent(left)
    if parent is not None and parent.id in file.parameters:
        return
    one, other = span_of(left), span_of(right)
    if file.text(one) != file.text(other):
        between = file.text(Span(one.end, other.start))
        yield Edit(Span(one.start, other.end), file.text(other) + between + file.text(one))


def _alike(left: Node, right: Node, file: GrammarFile) -> bool:
    """False for two variables of a typed language that are not known to have one type."""
    if not file.grammar.rules.structure.typed or not left.type == right.type == "identifier":
        return True
    kinds = {one.name: one.kind for one in file.variables_at(span_of(left))}
    kind = kinds.get(file.text(span_of(left)))
    return kind is not None and kind == kinds.get(file.text(span_of(right)))


def _without_statement(span: Span, file: GrammarFile) -> Edit:
    """Its whole lines where nothing but a comment stands beside it, else its own text."""
    lines = file.lines(span)
    rest = file.source[span.end : lines.end]
    rest = file.source[file.comment_end(lines.end - len(rest.lstrip())) : lines.end]
    before = file.source[lines.start : span.start]
    return Edit(span if before.strip() or rest.strip() else lines, "")


def _without_element(node: Node, file: GrammarFile) -> Iterator[Edit]:
    """An element of a list goes with the comma after it, or, at the end, the one before."""
    parent = file.parent(node)
    if parent is not None and parent.id in file.parameters:
        return
    span = span_of(node)
    after, before = node.next_sibling, node.prev_sibling
    if after is not None and after.type == "," and after.next_sibling is not None:
        following = after.next_sibling
        closing = following.next_sibling is None and not following.is_named
        if before is None or before.type != "," or not closing:
            yield Edit(Span(span.start, after.end_byte if closing else following.start_byte), "")
            return
    if before is not None and before.type == ",":
        yield Edit(Span(before.start_byte, span.end), "")
    else:
        yield Edit(span, "")


def _others(name: str, span: Span, file: GrammarFile) -> list[str]:
    """The two variables bound nearest to a variable's own binding, the likeliest mixed up."""
    known = file.variables_at(span)
    own = next((one for one in known if one.name == name), None)
    if own is None:
        return []
    if file.grammar.rules.structure.typed:
        known = [one for one in known if one.kind is not None and one.kind == own.kind]
    others = [one for one in known if one is not own and not one.name.startswith("_")]
    place = sum(one.start < own.start for one in others)
    order = sorted(
        range(len(others)), key=lambda index: abs(index - place + (0.5 if index >= place else 0))
    )
    return [others[index].name for index in order[:2]]
