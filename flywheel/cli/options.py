"""Options that several commands have, so that they read the same everywhere."""

from typing import Annotated

import typer

Program = Annotated[
    str,
    typer.Option(
        "--module",
        metavar="MODULE",
        help="The program: repair …, path.py:Class or package.module:Class.",
    ),
]
GoesBy = Annotated[str | None, typer.Option("--metric", help="What it goes by; else tests_pass.")]
Student = Annotated[
    str | None,
    typer.Option("--student", metavar="PROFILE", help="The language model that runs the program."),
]
LMJudge = Annotated[
    str | None, typer.Option("--judge", metavar="PROFILE", help="The language model that judges.")
]
AnswersAtOnce = Annotated[
    int | None, typer.Option("--jobs", help="Answers judged at once; else all cores.")
]
CandidatesAtOnce = Annotated[
    int | None, typer.Option("--jobs", help="Candidates judged at once; else all cores.")
]
MaxUsd = Annotated[
    float | None, typer.Option("--max-usd", metavar="USD", help="US dollars that models may cost.")
]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", metavar="N", help="Tokens that models may take.")
]
Batch = Annotated[
    bool | None,
    typer.Option(
        "--batch/--no-batch",
        help="Ask the model in batches: half the price, within a day; anthropic/ models.",
    ),
]
Estimate = Annotated[
    bool, typer.Option("--estimate", help="Only say what models would be asked, and the cost.")
]
TimeLimit = Annotated[
    str | None,
    typer.Option("--time-limit", metavar="TIME", help="Stop after this time: 90, 10m, 2h."),
]
Where = Annotated[
    str | None,
    typer.Option(
        "--where", metavar="SQL", help="Only rows for which this SQL is true: source = 'mined'."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
