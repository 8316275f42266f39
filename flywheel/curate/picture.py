"""Pictures as SVG: counts as bars, shares with their intervals, the funnel of a version.

A picture is small, needs no library, and has the same bytes for the same numbers. It brings its own
ground, so that it reads on dark pages and on light ones, and it has no script, style or font of its
own, because pages that show strangers' pictures obey none. Letters are of one width, which is how
a picture knows what fits. Text comes from repositories: none of it can become markup.

Does not know what the numbers mean.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from flywheel.curate.funnel import Stage

WIDTH = 840
"""Of every picture, in its own units: what a column of text on a page is wide."""
MOST = 20
"""Bars of a picture; the values with the fewest rows are counted together."""

_MARGIN, _TOP, _GAP = 16, 48, 10
_LABEL = 34
"""Letters of a label; one that is longer loses its middle."""
_SIZE, _SMALL = 13.0, 11.0
_LETTER = 0.61
"""Width of a letter of a fixed pitch, in sizes of the font; the widest in use, to be safe."""
_ROW, _STAGE, _BAR = 24, 44, 14
_INK, _FAINT, _GROUND, _EDGE = "#1f2328", "#57606a", "#ffffff", "#d0d7de"
_KEPT, _DROPPED = "#2f6fab", ("#d98a3d", "#efb987")
_WIDE = frozenset("FW")
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def printable(text: str, *, lines: bool = False) -> str:
    """Text of others with what cannot be seen spelled out: controls, marks that turn its direction.

    With `lines`, ends of lines and tabs stay as they are.
    """
    stay = "\n\t" if lines else ""
    return "".join(
        one if one in stay or unicodedata.category(one) not in _UNSEEN else _spelled(one)
        for one in text
    )


def share(part: int, whole: int) -> str:
    """A part of a whole in per cent, to a tenth; a dash where there is no whole.

    A part that is something is never nothing, and one that is not the whole is never all of it.
    """
    if not whole:
        return "–"
    tenths = round(1000 * part / whole)
    if part and not tenths:
        return "< 0.1 %"
    return "> 99.9 %" if part < whole and tenths == 1000 else f"{tenths / 10:.1f} %"


def draw_bars(title: str, counts: Mapping[str, int], *, rest: int = 0) -> bytes:
    """Bars of the rows by value, in the order given, with their numbers and their shares.

    `rest` are rows of values that are not named. They, and those of the values beyond `MOST`, are a
    number without a bar: it would be longer than all others and say nothing.
    """
    total = sum(counts.values()) + rest
    shown = _most(counts)
    rest = total - sum(shown.values())
    lines = [(_cut(printable(name), _LABEL), name, count) for name, count in shown.items()]
    lines += [("all others", "", rest)] if rest else []
    numbers = [f"{count:,}  {share(count, total)}" for _, _, count in lines]
    left = _MARGIN + _wide((label for label, _, _ in lines), _SIZE) + _GAP
    room = WIDTH - _MARGIN - _GAP - _wide(numbers, _SIZE) - left
    most = max(shown.values(), default=0)
    parts = []
    for row, (label, name, count) in enumerate(lines):
        y = _TOP + row * _ROW
        length = _length(count, most, room) if name else 0.0
        parts.append(_text(_MARGIN, y + _BAR - 2, label, colour=_INK if name else _FAINT))
        if name:
            parts.append(_bar(left, y, length, _KEPT, name))
        at = left + length + (_GAP if name else 0)
        parts.append(_text(at, y + _BAR - 2, numbers[row], colour=_FAINT))
    if not lines:
        parts.append(_text(_MARGIN, _TOP + _BAR - 2, "no rows", colour=_FAINT))
    said = "; ".join(f"{label}: {count:,}" for label, _, count in lines)
    return _drawn(title, said or "no rows", parts, _TOP + max(1, len(lines)) * _ROW)


@dataclass(frozen=True, slots=True)
class Mark:
    """A share with its interval."""

    label: str
    """What it is of."""
    value: float | None
    """From 0 to 1, None where it is not known."""
    low: float | None
    """Lower end of its interval, None where there is none."""
    high: float | None
    """Upper end."""
    told: str
    """What stands beside it."""
    strong: bool = False
    """Whether it is one to look at first."""


def draw_marks(title: str, marks: Sequence[Mark]) -> bytes:
    """A line for each share, from 0 on the left to 1 on the right: its point and its interval."""
    labels = [_cut(printable(one.label), _LABEL) for one in marks]
    numbers = [printable(one.told) for one in marks]
    left = _MARGIN + _wide(labels, _SIZE) + _GAP
    room = WIDTH - _MARGIN - _GAP - _wide(numbers, _SIZE) - left
    parts = [
        f'<line x1="{left + room * share:.1f}" y1="{_TOP - 4}" x2="{left + room * share:.1f}"'
        f' y2="{_TOP + len(marks) * _ROW}" stroke="{_EDGE}"/>'
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    for row, one in enumerate(marks):
        y = _TOP + row * _ROW
        colour = _DROPPED[0] if one.strong else _KEPT
        parts.append(_text(_MARGIN, y + _BAR - 2, labels[row]))
        if one.low is not None and one.high is not None:
            x, length = left + room * one.low, max(1.5, room * (one.high - one.low))
            parts.append(
                f'<rect x="{x:.1f}" y="{y + 5}" width="{length:.1f}" height="3" fill="{colour}"/>'
            )
        if one.value is not None:
            parts.append(
                f'<circle cx="{left + room * one.value:.1f}" cy="{y + 6.5:.1f}" r="5"'
                f' fill="{colour}"><title>{escape(numbers[row])}</title></circle>'
            )
        parts.append(_text(left + room + _GAP, y + _BAR - 2, numbers[row], colour=_FAINT))
    if not marks:
        parts = [_text(_MARGIN, _TOP + _BAR - 2, "nothing was compared", colour=_FAINT)]
    said = "; ".join(f"{one.label}: {one.told}" for one in marks)
    return _drawn(title, said or "nothing was compared", parts, _TOP + max(1, len(marks)) * _ROW)


def draw_funnel(title: str, stages: Sequence[Stage]) -> bytes:
    """A bar for each stage: the rows it kept, and those it dropped, reason by reason."""
    most = max((stage.rows for stage in stages), default=0)
    labels = [_cut(printable(stage.name), _LABEL) for stage in stages]
    numbers = [f"{stage.kept:,} of {stage.rows:,}" for stage in stages]
    left = _MARGIN + _wide(labels, _SIZE) + _GAP
    room = WIDTH - _MARGIN - _GAP - _wide(numbers, _SIZE) - left
    letters = int((WIDTH - _MARGIN - left) / (_SMALL * _LETTER))
    parts = []
    for row, stage in enumerate(stages):
        y = _TOP + row * _STAGE
        at = left
        parts.append(_text(_MARGIN, y + _BAR - 2, labels[row]))
        for place, (reason, count) in enumerate([("kept", stage.kept), *stage.dropped.items()]):
            length = room * count / most if most else 0.0
            colour = _DROPPED[place % len(_DROPPED)] if place else _KEPT
            parts.append(_bar(at, y, length, colour, f"{reason}: {count:,}"))
            at += length
        parts += [
            _text(at + _GAP, y + _BAR - 2, numbers[row], colour=_FAINT),
            _text(left, y + _BAR + 14, _reasons(stage, letters), colour=_FAINT, size=_SMALL),
        ]
    if not stages:
        parts.append(_text(_MARGIN, _TOP + _BAR - 2, "no stages", colour=_FAINT))
    said = "; ".join(f"{stage.name}: {stage.kept:,} of {stage.rows:,} kept" for stage in stages)
    return _drawn(title, said or "no stages", parts, _TOP + max(1, len(stages)) * _STAGE)


def _most(counts: Mapping[str, int]) -> dict[str, int]:
    """The values that get a bar, in their order."""
    named = set(sorted(counts, key=lambda name: -counts[name])[:MOST])
    return {name: count for name, count in counts.items() if name in named}


def _reasons(stage: Stage, letters: int) -> str:
    """The reasons of a stage in one line, most first; those that do not fit are counted."""
    if not stage.dropped:
        return "none dropped"
    said: list[str] = []
    for at, (reason, count) in enumerate(stage.dropped.items()):
        more = (
            [f"{len(stage.dropped) - at - 1} more reasons"] if at + 1 < len(stage.dropped) else []
        )
        one = f"{_cut(printable(reason), _LABEL)} {count:,}"
        if said and _cells(", ".join(["dropped:", *said, one, *more])) > letters:
            left = sum(list(stage.dropped.values())[at:])
            return f"dropped: {', '.join(said)}, {len(stage.dropped) - at} more reasons {left:,}"
        said.append(one)
    return f"dropped: {', '.join(said)}"


def _length(count: int, most: int, room: float) -> float:
    """Length of a bar; one that stands for anything can be seen."""
    return max(1.5, room * count / most) if count else 0.0


def _cells(text: str) -> int:
    """Letters of a fixed pitch that a text takes: those of East Asia take two."""
    return sum(
        0 if unicodedata.combining(one) else 1 + (unicodedata.east_asian_width(one) in _WIDE)
        for one in text
    )


def _wide(texts: Iterable[str], size: float) -> float:
    return max(map(_cells, texts), default=0) * size * _LETTER


def _cut(text: str, letters: int) -> str:
    """A text that takes no more room than that; what tells names apart is at their ends."""
    if _cells(text) <= letters:
        return text
    head, tail = "", ""
    for one in text:
        if _cells(head + one) > letters // 3:
            break
        head += one
    for one in reversed(text):
        if _cells(head + "…" + one + tail) > letters:
            break
        tail = one + tail
    return f"{head}…{tail}"


def _spelled(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def _text(
    x: float, y: float, text: str, *, colour: str = _INK, size: float = _SIZE, weight: str = ""
) -> str:
    bold = f' font-weight="{weight}"' if weight else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{colour}"{bold}'
        f' xml:space="preserve">{escape(text)}</text>'
    )


def _bar(x: float, y: float, length: float, colour: str, said: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{length:.1f}" height="{_BAR}" fill="{colour}">'
        f"<title>{escape(printable(said))}</title></rect>"
    )


def _drawn(title: str, said: str, parts: Sequence[str], height: int) -> bytes:
    whole = height + _MARGIN // 2
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{whole}"'
        f' viewBox="0 0 {WIDTH} {whole}" font-family="monospace" role="img"'
        f" aria-label={quoteattr(printable(f'{title}. {said}'))}>"
    )
    ground = (
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{whole - 1}" rx="6"'
        f' fill="{_GROUND}" stroke="{_EDGE}"/>'
    )
    lines = [
        head,
        ground,
        _text(_MARGIN, 28, printable(title), size=15, weight="bold"),
        *parts,
        "</svg>",
    ]
    return ("\n".join(lines) + "\n").encode()
