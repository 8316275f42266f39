"""The command line: its options, its small commands, and the one error boundary."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

import flywheel as package
from flywheel.cli import main
from flywheel.cli.session import Session
from flywheel.core.errors import FlywheelError, Interrupted, StoreBusyError

Flywheel = Callable[..., Any]
COMMANDS = {
    *("harvest", "replay", "history", "examples", "show", "survivors", "sql", "status"),
    *("versions", "version", "deploy", "rollback", "traffic"),
    *("init", "doctor", "config"),
}
ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "docs").rglob("*.yml")),
]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make `flywheel init` raise what it is given."""

    def arrange(error: BaseException) -> None:
        def raise_it(path: Path) -> None:
            raise error

        monkeypatch.setattr("flywheel.workspace.init", raise_it)

    return arrange


def test_help_lists_the_commands(flywheel: Flywheel) -> None:
    ran = flywheel("--help")
    assert ran.code == 0
    for command in COMMANDS:
        assert f"\n  {command} " in ran.out


@pytest.mark.parametrize("group", [(), ("dataset",), ("metric",), ("version",), ("config",)])
def test_no_sentence_about_a_command_is_cut_off(flywheel: Flywheel, group: tuple[str, ...]) -> None:
    listed = flywheel(*group, "--help").out.partition("Commands:")[2]
    assert listed
    assert "..." not in listed


def test_without_a_command_the_help_is_shown(flywheel: Flywheel) -> None:
    assert flywheel() == flywheel("--help")


def test_the_version_is_printed(flywheel: Flywheel) -> None:
    assert flywheel("--version").out == f"flywheel {package.__version__}\n"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from flywheel.cli.main import run; run(['--help']);"
        "heavy = {'duckdb', 'polars', 'pyarrow', 'git', 'pydantic', 'rich.console'};"
        "print(*sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr.strip() == ""


def test_an_interrupt_while_commands_are_imported_ends_it_like_any_other(tmp_path: Path) -> None:
    # A module of the command line that is stopped in the midst of its import.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Stops:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'flywheel.cli.cost':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stops())\n"
    )
    code = "from flywheel.cli.entry import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, "Interrupted.\n")


def test_what_hangs_in_a_thread_keeps_no_command_alive(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, types\n"
        "hung = types.ModuleType('flywheel.cli.main')\n"
        "def main():\n"
        "    import threading, time\n"
        "    threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "    print('done')\n"
        "    sys.exit(4)\n"
        "hung.main = main\n"
        "sys.modules['flywheel.cli.main'] = hung\n"
    )
    code = "from flywheel.cli.entry import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (4, "done\n", "")


def test_an_unknown_command_is_refused_with_the_nearest_one(flywheel: Flywheel) -> None:
    ran = flywheel("doctr")
    assert ran.code == 2
    assert "Did you mean 'doctor'?" in ran.err


def test_an_unknown_option_is_refused_with_the_nearest_one(flywheel: Flywheel) -> None:
    ran = flywheel("config", "show", "--orgin")
    assert ran.code == 2
    assert "Did you mean --origin?" in ran.err


def test_a_global_option_after_the_command_is_told_its_place(flywheel: Flywheel) -> None:
    ran = flywheel("init", "--quiet")
    assert ran.code == 2
    assert "flywheel --quiet" in ran.err


def test_a_known_error_shows_what_why_and_what_next(
    flywheel: Flywheel, failing: Callable[[BaseException], None]
) -> None:
    failing(StoreBusyError("The store is busy.", cause="pid [7] holds it\x1b[2J", hint="Wait."))
    ran = flywheel("init")
    assert ran.code == 1
    assert ran.out == ""
    assert ran.err == "error: The store is busy.\ncause: pid [7] holds it\\x1b[2J\nhint: Wait.\n"


@pytest.mark.parametrize("kind", FlywheelError.__subclasses__())
def test_each_error_ends_with_its_own_exit_code(
    flywheel: Flywheel,
    failing: Callable[[BaseException], None],
    kind: type[FlywheelError],
) -> None:
    failing(kind("It failed."))
    assert flywheel("init").code == kind.exit_code


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Interrupted("Stopped.")])
def test_an_interruption_exits_130(
    flywheel: Flywheel, failing: Callable[[BaseException], None], error: BaseException
) -> None:
    failing(error)
    assert flywheel("init").code == 130


def test_a_bug_saves_its_traceback_and_names_the_file(
    flywheel: Flywheel, failing: Callable[[BaseException], None], folder: Path
) -> None:
    (folder / ".flywheel").mkdir()
    failing(ZeroDivisionError("a [bold] thing of https://me:secret@x.org/a"))
    ran = flywheel("init")
    (saved,) = (folder / ".flywheel").glob("traceback-*.txt")
    assert ran.code == 1
    assert "This is a bug" in ran.err
    assert "ZeroDivisionError: a [bold] thing of https://x.org/a" in ran.err
    assert str(saved) in ran.err
    assert "Traceback" not in ran.err
    assert "raise_it" in saved.read_text()
    assert "secret" not in saved.read_text()


def test_a_bug_outside_a_workspace_leaves_nothing_in_the_folder(
    flywheel: Flywheel, failing: Callable[[BaseException], None], folder: Path
) -> None:
    failing(ZeroDivisionError())
    ran = flywheel("init")
    assert list(folder.iterdir()) == []
    assert "traceback-" in ran.err


def test_debug_shows_the_traceback_of_a_bug(
    flywheel: Flywheel, failing: Callable[[BaseException], None]
) -> None:
    failing(ZeroDivisionError())
    ran = flywheel("--debug", "init")
    assert ran.code == 1
    assert "Traceback" in ran.err


def test_a_reader_that_goes_away_is_no_error(folder: Path) -> None:
    code = "from flywheel.cli.main import main; main(['config', 'show', '--json'])"
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True
        )
    finally:
        os.close(write)
    assert done.stderr == ""


def test_init_makes_a_workspace_and_names_the_next_command(
    flywheel: Flywheel, folder: Path
) -> None:
    ran = flywheel("init")
    assert ran.code == 0
    assert ran.out == ""
    assert (folder / "flywheel.toml").is_file()
    assert "Next: flywheel harvest" in ran.err
    assert "nothing changed" in flywheel("init").err


def test_quiet_says_nothing_on_success(flywheel: Flywheel) -> None:
    ran = flywheel("--quiet", "init")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_init_works_in_the_workspace_asked_for(flywheel: Flywheel, folder: Path) -> None:
    flywheel("--workspace", "other", "init")
    assert (folder / "other" / ".flywheel").is_dir()


def test_config_show_prints_each_value_and_its_origin(flywheel: Flywheel, folder: Path) -> None:
    (folder / "flywheel.toml").write_text('[harvest]\nseed = 7\npaths = ["[a]"]\n')
    ran = flywheel("config", "show", "--origin")
    assert f"harvest.seed = 7  {folder / 'flywheel.toml'}\n" in ran.out
    assert "harvest.paths = [a]  " in ran.out
    assert "harvest.jobs = none  default\n" in ran.out


def test_config_show_prints_json(flywheel: Flywheel) -> None:
    settings = {setting["name"]: setting for setting in flywheel("config", "show", "--json").json}
    assert settings["harvest.max_candidates"]["value"] == 2000
    assert settings["harvest.max_candidates"]["origin"] == "default"


def test_a_wrong_setting_is_a_usage_error(flywheel: Flywheel, folder: Path) -> None:
    (folder / "flywheel.toml").write_text("[harvest]\nsede = 7\n")
    ran = flywheel("config", "show")
    assert ran.code == 2
    assert "Did you mean harvest.seed?" in ran.err


def test_a_command_called_without_main_still_has_a_session() -> None:
    context = typer.Context(typer.main.get_command(main.app))
    assert Session.of(context) is Session.of(context)


def test_nobody_is_asked_with_no_input() -> None:
    assert not Session(no_input=True).interactive


def test_init_names_the_next_command_for_the_folder_it_made_a_workspace(flywheel: Flywheel) -> None:
    ran = flywheel("init", "my work")
    assert "Next: flywheel --workspace 'my work' harvest --repo PATH" in ran.err


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_command_that_a_document_names_has_the_options_it_shows(
    flywheel: Flywheel, document: Path
) -> None:
    text = re.sub(r"\\\n\s*|\n\s+(?=--)", " ", document.read_text())
    lines = re.findall(r"flywheel((?: --\w+(?: (?!-)\S+)?)*) ([a-z]+)([^`\n|#]*)", text)
    for before, command, after in lines:
        if command not in COMMANDS:
            continue
        words = ("config", "show") if command == "config" else (command,)
        for named, options in (((), before), (words, after)):
            known = flywheel(*named, "--help").out
            for option in re.findall(r"(?<!\S)--[a-z-]+", options):
                assert re.search(rf"{option}\b(?!-)", known), f"{command} {option}"
