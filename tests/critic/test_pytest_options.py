from __future__ import annotations

import shlex

import pytest

from flywheel.critic.pytest_options import clean, critic_arguments, read_settings


@pytest.mark.parametrize(
    ("addopts", "kept"),
    [
        ("-ra -q --strict-markers", ""),
        ("--cov=pkg --cov-report term-missing --doctest-modules", "--doctest-modules"),
        ("--cov --cov-report=html tests", "tests"),
        ("-n auto --dist loadfile -m 'not slow'", "-m 'not slow'"),
        ("-n4 -x --maxfail=1 --tb short", ""),
        ("--import-mode=append -W error -p a", "--import-mode=append -W error -p a"),
        ("-p no:randomly -pxdist -p no:warnings", "-p no:warnings"),
        ("--ignore=docs --deselect tests/a.py::b", "--ignore=docs --deselect tests/a.py::b"),
        ("--durations 10 -vv -l --color yes --runslow", "--runslow"),
        ("--benchmark-skip --reruns 3 --timeout=5 --junitxml=a.xml", ""),
    ],
)  # fmt: skip
def test_what_is_tested_stays_and_how_it_is_shown_goes(addopts, kept):
    assert shlex.join(clean(shlex.split(addopts)).kept) == kept


@pytest.mark.parametrize(
    ("files", "file", "addopts"),
    [
        ({"pytest.ini": b"[pytest]\naddopts = -a\n", "tox.ini": b"[pytest]\naddopts = -b\n"},
         "pytest.ini", ("-a",)),
        ({"pyproject.toml": b'[tool.pytest.ini_options]\naddopts = "-a \'b c\'"\n'},
         "pyproject.toml", ("-a", "b c")),
        ({"pyproject.toml": b'[tool.pytest]\naddopts = ["-a", "b c"]\n'},
         "pyproject.toml", ("-a", "b c")),
        ({"pyproject.toml": b"[project]\n", "setup.cfg": b"[tool:pytest]\naddopts =\n  -a\n  -b\n"},
         "setup.cfg", ("-a", "-b")),
        ({"tox.ini": b"[tox]\n"}, None, ()),
        ({"tox.ini": b"\xff not ini"}, None, ()),
    ],
)  # fmt: skip
def test_settings_are_found_where_pytest_finds_them(files, file, addopts):
    found = read_settings(files.get)
    assert (found.file, found.addopts) == (file, addopts)


def test_plugins_that_spoil_a_verdict_are_off_and_others_are_quiet():
    arguments = critic_arguments(("-m", "not slow"), ["randomly", "pytest_cov", "anyio"])
    assert arguments[:2] == ("-o", "addopts=-m 'not slow'")
    assert "no:randomly" in arguments
    assert "--no-cov" in arguments
    assert not any("anyio" in word for word in arguments)
