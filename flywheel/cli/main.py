"""The `flywheel` command: its global options, its small commands, and the one error boundary.

Commands of other modules join by their `register(app)`. Exit codes: 0 ok, 1 failure, 2 usage, 3 a
dataset that leaks, 4 budget used up, 130 interrupted. An error a user can meet is a `FlywheelError`
and is told as what failed, why, and what to do; anything else is a bug, whose traceback is saved
and named.
"""

from __future__ import annotations

import difflib
import importlib
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

import flywheel
from flywheel.cli.options import Json
from flywheel.cli.session import Session, visible
from flywheel.core.address import without_credentials
from flywheel.core.errors import FlywheelError, Interrupted

BUG = 1
"""Exit code of an unexpected error."""

app = typer.Typer(
    name="flywheel",
    help="Turn any git repository into proven (bad, error, good) training data.",
    add_completion=True,
    rich_markup_mode=None,  # its panels cost 0.12 s, of the 0.3 s that help may take
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(help="Look at the settings in force.")

_GLOBAL_OPTIONS = frozenset({"--workspace", "-w", "--quiet", "-q", "--no-input", "--debug"})


def _print_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"flywheel {flywheel.__version__}\n")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace",
            "-w",
            metavar="FOLDER",
            help="Folder to work in; else FLYWHEEL_WORKSPACE, else the nearest workspace.",
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only data and errors.")
    ] = False,
    no_input: Annotated[bool, typer.Option("--no-input", help="Never ask a question.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")
    ] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Options of every command; they go before its name."""
    session = Session.of(context)
    session.workspace_option = workspace
    session.quiet = quiet
    session.no_input = no_input
    session.debug = debug
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


@app.command()
def init(
    context: typer.Context,
    path: Annotated[
        Path | None, typer.Argument(help="Folder to make a workspace of; else the current one.")
    ] = None,
) -> None:
    """Make a folder a workspace.

    Writes a commented flywheel.toml and a .flywheel/ that git ignores. What is there already is
    left as it is, so it can be run again.
    """
    from rich.markup import escape

    from flywheel.workspace import init as initialise

    session = Session.of(context)
    session.workspace_option = path or session.workspace_option
    done = initialise(session.workspace_option or Path.cwd())
    for file in done.created:
        session.say(f"Created {escape(str(file))}")
    if not done.created:
        session.say(f"{escape(str(done.workspace.root))} is a workspace already; nothing changed.")
    session.next_step("harvest", "--repo", "PATH")


@config_app.command("show")
def config_show(
    context: typer.Context,
    origin: Annotated[
        bool, typer.Option("--origin", help="Say where each value came from.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print every setting in force.

    The first of these that has a value wins: flag, FLYWHEEL_* variable, the nearest
    flywheel.toml or [tool.flywheel] of pyproject.toml, the user's flywheel.toml, the default.
    """
    from rich.markup import escape

    session = Session.of(context)
    configuration = session.configuration()
    if as_json:
        session.print_json(
            [
                {"name": setting.name, "value": setting.value, "origin": setting.origin}
                for setting in configuration
            ]
        )
        return
    for setting in configuration:
        value = "none" if setting.value is None else _shown(setting.value)
        line = f"[bold]{setting.name}[/bold] = {escape(value)}"
        if origin:
            line += f"  [dim]{escape(setting.origin)}[/dim]"
        session.out.print(line)


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) or "[]" if isinstance(value, tuple) else str(value)


# The order is the order of the help: what makes data, what reads it, what looks after the rest.
for _module in (
    *(
        "harvest",
        "correct",
        "audit",
        "dataset",
        "metric",
        "optimize",
        "evaluate",
        "spin",
        "versions",
        "deploy",
        "history",
        "read",
    ),
    *("trends", "status", "cost", "doctor"),
):
    importlib.import_module(f"flywheel.cli.{_module}").register(app)
app.add_typer(config_app, name="config")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; the one place where errors end."""
    session = Session()
    command = typer.main.get_command(app)
    try:
        result = command.main(
            list(arguments), prog_name="flywheel", standalone_mode=False, obj=session
        )
    except FlywheelError as error:
        _tell(session, error.message, cause=error.cause, hint=error.hint)
        return error.exit_code
    except typer.TyperException as error:
        _tell(session, error.format_message(), hint=_usage_hint(error))
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        result = Interrupted.exit_code
    except RuntimeError as error:
        # DuckDB's word for a Ctrl-C that came in the midst of a query.
        if str(error) != "Query interrupted":
            return _tell_bug(session, error, arguments)
        result = Interrupted.exit_code
    except Exception as error:  # noqa: BLE001  the boundary: whatever is left is a bug
        return _tell_bug(session, error, arguments)
    if result == Interrupted.exit_code:
        session.err.print("Interrupted. What was finished is kept.")
    return result if isinstance(result, int) else 0


def _tell(
    session: Session, message: str, *, cause: str | None = None, hint: str | None = None
) -> None:
    from rich.markup import escape

    session.err.print(f"[bold red]error:[/bold red] {escape(visible(message))}")
    if cause:
        session.err.print(f"[bold]cause:[/bold] {escape(visible(cause.strip()))}")
    if hint:
        session.err.print(f"[bold green]hint:[/bold green] {escape(visible(hint))}")


def _usage_hint(error: typer.TyperException) -> str | None:
    # Typer's usage errors carry these, but are not among its public names.
    context: Any = getattr(error, "ctx", None)
    option: str | None = getattr(error, "option_name", None)
    near: Sequence[str] | None = getattr(error, "possibilities", None)
    path = context.command_path if context is not None else "flywheel"
    if option in _GLOBAL_OPTIONS and path != "flywheel":
        return f"{option} goes before the command's name: flywheel {option} …"
    if option and (nearest := difflib.get_close_matches(option, near or (), n=1)):
        return f"Did you mean {nearest[0]}?"
    return f"{path} --help"


def _tell_bug(session: Session, error: Exception, arguments: Sequence[str]) -> int:
    text = "".join(traceback.format_exception(error))
    if session.debug:
        sys.stderr.write(text)
        return BUG
    summary = without_credentials(f"{type(error).__name__}: {error}".strip())
    said = without_credentials(f"flywheel {' '.join(arguments)}\n\n{text}")
    saved = _save_traceback(session, said)
    _tell(
        session,
        "flywheel stopped on something it did not expect. This is a bug.",
        cause=summary.splitlines()[0],
        hint=f"The traceback is in {saved}; please report it." if saved else "Run with --debug.",
    )
    return BUG


def _save_traceback(session: Session, text: str) -> Path | None:
    """Write a traceback to the workspace's state folder, else to the user's; None when neither."""
    import platformdirs

    folders = [platformdirs.user_state_path("flywheel")]
    try:
        if session.workspace.exists:
            folders.insert(0, session.workspace.state)
    except (FlywheelError, OSError):
        pass  # the workspace may be the very thing that failed
    name = f"traceback-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.txt"
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / name
            file.write_text(text, encoding="utf-8")
        except OSError:
            continue
        return file
    return None
