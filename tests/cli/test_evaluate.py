"""`flywheel evaluate`: what is wrong is said before anything is asked, and nothing is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from flywheel.cli.main import run
from tests.fakes.versions import version


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--dataset", "repair-stf"), "Did you mean repair-sft@"),
        (("--split", "test"), "it has train, validation, holdout"),
        (("--metric", "test_pass"), "Did you mean tests_pass?"),
        (("--module", "repar"), "did you mean repair?"),
        (("--module", "mine.py:Odd"), "takes tests, which no row of a dataset has"),
        (("--module", "mine.py:Od"), "did you mean Odd?"),
        (("--student", "nobody"), "there is no language model profile 'nobody'"),
        (("--versions", "base,deadbeef"), "repair has no versions"),
        (("--versions", ","), "no version is named"),
        (("--versions", "rewrite@base"), "rewrite@base is no version of repair"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, str], said: str
) -> None:
    version(tmp_path / ".flywheel" / "datasets")
    (tmp_path / "mine.py").write_text(
        "import dspy\n\n\nclass Odd(dspy.Module):\n    def forward(self, tests): pass\n"
    )
    given = {"--module": "repair", "--dataset": "repair-sft"} | dict([arguments])
    pairs = [text for pair in given.items() for text in pair]
    code = run(["--workspace", str(tmp_path), "evaluate", *pairs])
    told = capsys.readouterr().err
    assert code == 2, told
    assert said in told
    assert "Traceback" not in told
    assert not (tmp_path / ".flywheel" / "flywheel.duckdb").exists()
