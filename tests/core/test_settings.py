"""The settings tree: precedence, origins, and messages for what is wrong."""

import tomllib
from pathlib import Path

import pytest

from flywheel.core.errors import UsageError
from flywheel.core.settings import (
    Configuration,
    LMProfile,
    load,
    parse_duration,
    setting_names,
    template,
    variable_name,
)


def load_in(
    folder: Path, *, flags: dict[str, object] | None = None, environ: dict[str, str] | None = None
) -> Configuration:
    """Load with nothing of the machine's own: no environment, a user's file in the folder."""
    return load(folder, flags=flags, environ=environ or {}, user=folder / "user" / "flywheel.toml")


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_every_setting_has_a_default_and_says_so(tmp_path: Path) -> None:
    configuration = load_in(tmp_path)
    assert configuration.settings.harvest.max_candidates == 2000
    assert configuration.settings.harvest.source == ("mutated",)
    assert {setting.origin for setting in configuration} == {"default"}


def test_every_setting_has_its_sentence(tmp_path: Path) -> None:
    for setting in load_in(tmp_path):
        assert setting.description.endswith("."), setting.name


def test_a_flag_beats_a_variable_beats_the_project_beats_the_user(tmp_path: Path) -> None:
    write(tmp_path / "user" / "flywheel.toml", "[harvest]\nseed = 1\njobs = 1\nmax_candidates = 1")
    write(tmp_path / "flywheel.toml", "[harvest]\nseed = 2\njobs = 2\nmax_examples = 2")
    configuration = load_in(
        tmp_path,
        environ={"FLYWHEEL_HARVEST_SEED": "3", "FLYWHEEL_HARVEST_TIME_LIMIT": "3"},
        flags={"harvest.seed": 4, "harvest.jobs": None},
    )
    harvest = configuration.settings.harvest
    assert (harvest.seed, harvest.time_limit, harvest.jobs) == (4, 3.0, 2)
    assert (harvest.max_examples, harvest.max_candidates) == (2, 1)
    assert configuration.origin("harvest.seed") == "--seed"
    assert configuration.origin("harvest.time_limit") == "FLYWHEEL_HARVEST_TIME_LIMIT"
    assert configuration.origin("harvest.jobs") == str(tmp_path / "flywheel.toml")
    assert configuration.origin("harvest.max_candidates").endswith("user/flywheel.toml")
    assert configuration.origin("harvest.python") == "default"


def test_the_nearest_file_is_found_walking_up(tmp_path: Path) -> None:
    write(tmp_path / "flywheel.toml", "[harvest]\nseed = 1")
    deep = tmp_path / "a" / "b"
    write(tmp_path / "a" / "flywheel.toml", "[harvest]\nseed = 2")
    deep.mkdir()
    assert load_in(deep).settings.harvest.seed == 2


def test_pyproject_counts_only_with_a_table_of_ours(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", "[tool.flywheel.harvest]\nseed = 1")
    inner = write(tmp_path / "a" / "pyproject.toml", "[tool.ruff]\nline-length = 88").parent
    configuration = load_in(inner)
    assert configuration.settings.harvest.seed == 1
    assert configuration.origin("harvest.seed").endswith("pyproject.toml [tool.flywheel]")


def test_in_one_folder_flywheel_toml_goes_before_pyproject(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", "[tool.flywheel.harvest]\nseed = 1")
    write(tmp_path / "flywheel.toml", "[harvest]\nseed = 2")
    assert load_in(tmp_path).settings.harvest.seed == 2


def test_a_misspelt_setting_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    write(tmp_path / "flywheel.toml", "[harvest]\nmax_candidate = 5")
    with pytest.raises(UsageError, match=r"harvest\.max_candidate") as caught:
        load_in(tmp_path)
    assert str(tmp_path / "flywheel.toml") in caught.value.message
    assert caught.value.hint == "Did you mean harvest.max_candidates?"


def test_a_misspelt_section_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    write(tmp_path / "flywheel.toml", "[harvst]\nseed = 5")
    with pytest.raises(UsageError) as caught:
        load_in(tmp_path)
    assert caught.value.hint == "Did you mean harvest?"


def test_a_setting_in_the_wrong_section_is_pointed_to_the_right_one(tmp_path: Path) -> None:
    write(tmp_path / "flywheel.toml", "[sandbox]\nseed = 5")
    with pytest.raises(UsageError) as caught:
        load_in(tmp_path)
    assert caught.value.hint == "Did you mean harvest.seed?"


def test_a_misspelt_variable_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_in(tmp_path, environ={"FLYWHEEL_HARVEST_JOB": "2"})
    assert caught.value.hint == "Did you mean FLYWHEEL_HARVEST_JOBS?"


def test_variables_of_others_and_empty_ones_are_left_alone(tmp_path: Path) -> None:
    configuration = load_in(tmp_path, environ={"FLYWHEEL_HARVEST_JOBS": "", "FLYWHEEL_X": "1"})
    assert configuration.settings.harvest.jobs is None


def test_a_wrong_value_names_the_setting_the_value_and_the_file(tmp_path: Path) -> None:
    file = write(tmp_path / "flywheel.toml", '[harvest]\njobs = "many"')
    with pytest.raises(UsageError) as caught:
        load_in(tmp_path)
    for part in ("harvest.jobs", "'many'", str(file)):
        assert part in caught.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("harvest.jobs", 0),
        ("harvest.max_candidates", -1),
        ("harvest.isolation", "S9"),
        ("harvest.time_limit", "soon"),
        ("sandbox.wall_factor", 0.5),
    ],
)
def test_a_value_out_of_range_is_refused(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(UsageError, match=name):
        load_in(tmp_path, flags={name: value})


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "flywheel.toml", "[harvest\n")
    with pytest.raises(UsageError, match="not valid TOML") as caught:
        load_in(tmp_path)
    assert str(file) in caught.value.message


def test_a_section_that_is_no_table_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "flywheel.toml", "harvest = 3")
    with pytest.raises(UsageError, match="must be a table"):
        load_in(tmp_path)


def test_a_path_in_a_file_is_relative_to_that_file(tmp_path: Path) -> None:
    write(tmp_path / "flywheel.toml", '[harvest]\npython = "venv/bin/python"')
    deep = tmp_path / "a"
    deep.mkdir()
    assert load_in(deep).settings.harvest.python == tmp_path / "venv/bin/python"


def test_a_path_may_start_at_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    write(tmp_path / "flywheel.toml", '[paths]\ncache = "~/cache"')
    assert load_in(tmp_path).settings.paths.cache == Path("/home/someone/cache")


def test_a_list_in_a_variable_is_split_at_commas(tmp_path: Path) -> None:
    configuration = load_in(tmp_path, environ={"FLYWHEEL_HARVEST_PATHS": "src/a.py, src/b/"})
    assert configuration.settings.harvest.paths == ("src/a.py", "src/b/")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("2D", 172800)],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "10 minutes", "-3", "1h30"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        parse_duration(text)


def test_asking_for_the_origin_of_no_setting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_in(tmp_path).origin("harvest.sead")
    assert caught.value.hint == "Did you mean harvest.seed?"


def test_the_template_is_toml_that_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path / "flywheel.toml", template())
    configuration = load_in(tmp_path)
    assert {setting.origin for setting in configuration} == {"default"}


def test_the_template_uncommented_gives_the_defaults(tmp_path: Path) -> None:
    lines = [
        line.removeprefix("# ") if " = " in line and not line.rstrip().endswith(".") else line
        for line in template().splitlines()
    ]
    text = "\n".join(lines).replace("# [lm.default]", "[lm.default]")
    text = text.replace("# model =", 'model = "local"')
    tree = tomllib.loads(text)
    write(tmp_path / "flywheel.toml", text)
    assert tree["harvest"]["max_candidates"] == 2000
    wanted = load_in(tmp_path / "elsewhere").settings
    profile = {"default": LMProfile(model="local")}
    assert load_in(tmp_path).settings == wanted.model_copy(update={"lm": profile})


def test_variable_names_are_distinct() -> None:
    names = setting_names()
    assert len({variable_name(name) for name in names}) == len(names)


PROFILES = """
[lm.corrector]
model = "anthropic/claude-sonnet-4-6"
fallbacks = ["small"]
timeout = "2m"
[lm.small]
model = "local"
"""


def test_profiles_of_language_models_are_tables_of_ones_own_naming(tmp_path: Path) -> None:
    write(tmp_path / "user" / "flywheel.toml", '[lm.corrector]\nmodel = "x/y"\nconcurrency = 2')
    write(tmp_path / "flywheel.toml", PROFILES)
    configuration = load_in(tmp_path)
    corrector = configuration.settings.lm["corrector"]
    assert (corrector.model, corrector.fallbacks) == ("anthropic/claude-sonnet-4-6", ("small",))
    # Setting by setting, the nearest file goes first.
    assert (corrector.timeout, corrector.concurrency) == (120, 2)
    shown = {one.name: (one.value, one.origin) for one in configuration if one.name[:3] == "lm."}
    assert shown["lm.corrector.concurrency"] == (2, str(tmp_path / "user" / "flywheel.toml"))
    assert shown["lm.small.model"] == ("local", str(tmp_path / "flywheel.toml"))


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('[lm.a]\nmodel = "x"\ntimeut = 1', "lm.a.timeut", "Did you mean lm.a.timeout?"),
        ("[lm.a]\ntimeout = 1", "lm.a.model has a wrong value", None),
        ('[lm.a]\nmodel = "x"\nretries = -1', "lm.a.retries has a wrong value", None),
        ('[lm."a.b"]\nmodel = "x"', "no name of a language model's profile", "[lm.corrector]"),
        ('[lm.a]\nmodel = "x"\napi_base = "https://me:pw@x.org"', "lm.a.api_base", None),
        ('lm = "x"', "'lm' in", "[lm]"),
        ('[lm]\nmodel = "x"', "'lm.model' in", "[lm.model]"),
    ],
)
def test_what_is_wrong_with_a_profile_is_said(
    tmp_path: Path, text: str, message: str, hint: str | None
) -> None:
    write(tmp_path / "flywheel.toml", text)
    with pytest.raises(UsageError) as caught:
        load_in(tmp_path)
    assert message in caught.value.message
    assert hint is None or hint in (caught.value.hint or "")
    assert "pw" not in str(vars(caught.value))


def test_a_profile_cannot_be_set_by_a_variable_and_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="FLYWHEEL_LM_CORRECTOR_MODEL"):
        load_in(tmp_path, environ={"FLYWHEEL_LM_CORRECTOR_MODEL": "x/y"})
