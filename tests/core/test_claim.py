"""Claims: one holder a piece of work, across descriptors and processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from flywheel.core.claim import Claims

HOLD = """
import sys
from pathlib import Path
from flywheel.core.claim import Claims
claims = Claims(Path(sys.argv[1]))
print(claims.take("ab12"), flush=True)
sys.stdin.read()
"""


def test_a_piece_is_claimed_once_and_others_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "claims.lock"
    with Claims(path) as mine, Claims(path) as other:
        assert mine.take("ab12")
        assert mine.take("ab12")
        assert not other.take("ab12")
        assert other.take("ab13")
        mine.drop("ab12")
        assert other.take("ab12")
        assert not mine.take("ab12")
    with Claims(path) as later:
        assert later.take("ab12")
    assert path.stat().st_size == 0


def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "claims.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    with Claims(path) as mine:
        assert not mine.take("ab12")
        holder.kill()
        holder.communicate()
        assert mine.take("ab12")
