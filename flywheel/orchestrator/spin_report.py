"""The report of a spin: one page of HTML with its pictures in it, which asks no network.

A table of the rounds, what the gate said of each in words, and pictures of the scores with their
intervals. Texts come from repositories and models: none of them can become markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from flywheel.curate.picture import Mark, draw_bars, draw_marks, printable
from flywheel.orchestrator.rounds import Round, Spread, Spun

HEAD = (
    *("round", "examples", "new", "yield", "learnt from", "held out", "champion", "challenger"),
    *("difference", "p", "tried", "mended", "cost", "time", "deployed"),
)
"""Columns of the table."""
_STYLE = """
:root { color-scheme: light }
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2328; background: #ffffff;
  max-width: 80rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: 13px }
th, td { text-align: right; padding: .35rem .6rem; border-bottom: 1px solid #d0d7de;
  vertical-align: top; white-space: pre; font-variant-numeric: tabular-nums }
th { font-weight: 600 }
svg { max-width: 100%; height: auto; margin: .4rem 0 } .faint { color: #57606a }
"""


def report(spun: Spun) -> str:
    """The page of a spin, as far as it has come."""
    rounds = spun.rounds
    title = f"{spun.module} by {spun.metric}"
    about = (
        f"over {', '.join(spun.repos)}. Deployed: {spun.deployed or 'none'}."
        f" Cost: {_usd(spun.usd)}. {f'Ended: {spun.ended}' if spun.ended else 'It goes on'}."
    )
    lines = ["".join(f"<td>{_lines(one)}</td>" for one in cells(each).values()) for each in rounds]
    parts = [
        f"<h1>{_said(title)}</h1>",
        f'<p class="faint">Spin {_said(spun.spin_id)} {_said(about)}</p>',
        '<div class="wide"><table><thead><tr>',
        *(f"<th>{_said(name)}</th>" for name in HEAD),
        "</tr></thead><tbody>",
        *(f"<tr>{line}</tr>" for line in lines),
        "</tbody></table></div>",
        "<h2>What the gate said</h2><ol>",
        *(f'<li value="{one.number}">{_said(verdict_of(one))}</li>' for one in rounds),
        "</ol>",
        "<h2>Scores on the hold-out, with 95 % intervals</h2>",
        '<p class="faint">Orange: what was deployed.</p>',
        draw_marks(f"{spun.metric} by round", _marks(rounds)).decode(),
        "<h2>New examples</h2>",
        draw_bars("New examples by round", _new(rounds)).decode(),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\';'
        " style-src 'unsafe-inline'\">"
        f"<title>{_said(title)}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def verdict_of(one: Round) -> str:
    """What a round decided, in a sentence or two."""
    if one.gated is None:
        return "Not finished."
    told = one.gated.why.rstrip(".") + "."
    told = told[:1].upper() + told[1:]
    if one.gated.deployed:
        return f"{told} {one.deployed} is deployed."
    return f"{told} {one.champion} stays."


def cells(one: Round) -> dict[str, str]:
    """A round as a line of the table, by the names of its columns; intervals are below figures."""
    found, data, gated, tried = one.harvested, one.composed, one.gated, one.attempted
    difference = "–"
    if gated is not None and gated.difference is not None:
        difference = f"{100 * gated.difference:+.1f}"
        if gated.low is not None and gated.high is not None:
            difference += f"\n{100 * gated.low:+.1f} to {100 * gated.high:+.1f}"
    told = (
        str(one.number),
        "–" if data is None else f"{data.examples:,}",
        "–" if found is None else f"{found.new:,}",
        "–" if found is None else _score(found.drawn),
        "–" if data is None else f"{data.train:,}",
        "–" if data is None else f"{data.holdout:,}",
        "–" if gated is None else _score(gated.champion_score),
        "–" if gated is None else _score(gated.challenger_score),
        difference,
        "–" if gated is None or gated.p_value is None else f"{gated.p_value:.2g}",
        "–" if tried is None else f"{tried.asked:,}",
        "–" if tried is None else f"{tried.mended:,}",
        _usd(one.usd),
        f"{one.seconds / 60:.1f} min",
        _deployed(one),
    )
    return dict(zip(HEAD, told, strict=True))


def _lines(cell: str) -> str:
    return "<br>".join(map(_said, cell.splitlines()))


def _deployed(one: Round) -> str:
    """Whether a round has deployed something."""
    if one.gated is None:
        return "not finished"
    return "yes" if one.gated.deployed else "no"


def _score(found: Spread | None, between: str = "\n") -> str:
    """A share with its sample, and its interval."""
    if found is None or found.value is None:
        return "–"
    spread = "" if found.low is None else f"{between}{found.low:.3f} to {found.high:.3f}"
    return f"{found.value:.3f}, n {found.n:,}{spread}"


def _marks(rounds: Sequence[Round]) -> list[Mark]:
    found = []
    for one in rounds:
        if one.gated is None:
            continue
        scores = {"champion": one.gated.champion_score, "challenger": one.gated.challenger_score}
        for name, each in scores.items():
            if each is not None:
                strong = name == "challenger" and one.gated.deployed
                label = f"round {one.number}, {name}"
                found.append(
                    Mark(label, each.value, each.low, each.high, _score(each, ", "), strong)
                )
    return found


def _new(rounds: Sequence[Round]) -> dict[str, int]:
    found = {}
    for one in rounds:
        if one.harvested is not None:
            found[f"round {one.number}, harvested"] = one.harvested.new
        if one.attempted is not None:
            found[f"round {one.number}, attempted"] = one.attempted.bugs + one.attempted.fixes
    return found


def _usd(usd: float | None) -> str:
    return "price not known" if usd is None else f"${usd:.4f}"


def _said(text: str) -> str:
    return escape(printable(text))
