"""Questions in bulk: every state that a batch and its items may be in, each paid once.

The provider is a process of its own. A process that dies is one whose engine is closed, or the one
of `tests/functional/test_batch.py`, which is killed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flywheel.core.errors import BudgetError, FlywheelError, LMError, UsageError
from flywheel.core.events import PhaseProgressed, Warned
from flywheel.lm import Request, Role, batch
from tests.fakes.batches import Batches, batches
from tests.fakes.provider import provider
from tests.lm.conftest import FOR, KEY, Asking, claude, question

PRICE = (10 * 3 + 4 * 0.3 + 1 * 3.75 + 5 * 15) / 1e6 / 2
"""Of one answer of the fake, at a batch's price."""


@pytest.fixture
def served() -> Iterator[Batches]:
    with batches() as found:
        yield found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test can wait for."""
    monkeypatch.setattr(batch, "FIRST_LOOK", 0.02)
    monkeypatch.setattr(batch, "SETTLING", 0.2)


@pytest.fixture
def asking(tmp_path: Path, served: Batches) -> Iterator[Callable[..., Bulky]]:
    made: list[Bulky] = []

    def make(more: dict[str, Any] | None = None, **limits: Any) -> Bulky:
        settings = {"batch_poll": 0.1, "patience": 10, **(more or {})}
        made.append(Bulky(tmp_path, {"default": claude(served, **settings)}, **limits))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.engine.close()
        one.journal.close()


class Bulky(Asking):
    """An engine that is asked in bulk."""

    def start(self, *texts: str) -> Any:
        return self.engine.batch([(question(text), FOR) for text in texts])

    def bulk(self, *texts: str) -> dict[str, str | FlywheelError]:
        """What each of these texts is answered, or why it is not."""
        ended = self.start(*texts)
        found = {text: self.answer(text) for text in texts}
        ended.result(30)
        return found

    def answer(self, text: str) -> str | FlywheelError:
        try:
            return self.engine.submit(question(text), FOR).result(30).response.text
        except FlywheelError as error:
            return error

    def rows(self, query: str) -> list[Any]:
        connection = sqlite3.connect(self.journal.path)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


def failure(found: str | FlywheelError) -> str:
    assert isinstance(found, LMError), found
    return found.failure


def test_many_questions_are_one_batch_at_half_the_price(asking, served: Batches) -> None:
    one = asking({"temperature": 1.5})
    assert one.bulk("a", "b", "c") == {"a": "a", "b": "b", "c": "c"}
    state = served.state
    assert (state["asked"], state["batches"], state["single"]) == (
        ["a", "b", "c"], ["msgbatch_0000"], 0,
    )  # fmt: skip
    # What the library has no name for is a parameter like the others here.
    assert state["params"][0]["temperature"] == 1.0
    assert [call.status for call in one.calls] == ["ok"] * 3
    assert {call.purpose for call in one.calls} == {"test@batch"}
    assert [call.usd for call in one.calls] == pytest.approx([PRICE] * 3)
    assert one.engine.spent.usd == pytest.approx(3 * PRICE)
    assert sum(call.input_tokens or 0 for call in one.calls) == state["usage"]["input_tokens"]
    # Kept answers are kept for everybody.
    one.engine.close()
    again = asking({"temperature": 1.5})
    assert again.bulk("a", "b", "c", "d")["d"] == "d"
    assert served.state["asked"] == ["a", "b", "c", "d"]


def test_how_far_it_is_is_told_while_it_goes_on(asking, served: Batches) -> None:
    served.plan(looks=3)
    one = asking()
    one.bulk("a", "b")
    told = [event.done for event in one.events if isinstance(event, PhaseProgressed)]
    assert told == [0, 0, 2]


def test_the_same_question_twice_is_one_item(asking, served: Batches) -> None:
    one = asking()
    assert one.bulk("a", "a") == {"a": "a"}
    assert served.state["asked"] == ["a"]


def test_a_question_that_is_not_in_the_batch_is_asked_as_ever(asking, served: Batches) -> None:
    one = asking()
    one.bulk("a")
    assert one.ask("b") == "b"
    assert (served.state["asked"], served.state["single"]) == (["a"], 1)


@pytest.mark.parametrize(
    ("rule", "kind", "sent"),
    [
        ({"type": "expired"}, "expired", 3),
        ({"type": "canceled"}, "cancelled", 3),
        ({"type": "errored", "kind": "overloaded_error"}, "errored", 3),
        ({"type": "errored", "kind": "api_error"}, "errored", 3),
        ({"type": "errored", "kind": "invalid_request_error"}, "invalid-request", 1),
        (
            {"type": "errored", "kind": "invalid_request_error", "message": "prompt is too long"},
            "context-length",
            1,
        ),
        ({"type": "errored", "kind": "billing_error"}, "billing", 1),
    ],
)
def test_an_item_without_an_answer_is_sent_again_where_that_may_help_and_then_told(
    asking, served: Batches, rule: dict[str, Any], kind: str, sent: int
) -> None:
    served.plan(results=[{"match": "poor", "times": 99, **rule}])
    one = asking()
    found = one.bulk("rich", "poor")
    assert found["rich"] == "rich"
    assert failure(found["poor"]) == kind
    # Not asked at the full price either, also when it is put once more.
    assert failure(one.answer("poor")) == kind
    state = served.state
    assert (state["asked"].count("poor"), state["asked"].count("rich")) == (sent, 1)
    assert state["single"] == 0
    unanswered = [call for call in one.calls if call.status != "ok"]
    assert len(unanswered) == sent
    assert {call.usd for call in unanswered} == {0.0}


def test_an_item_that_is_answered_the_second_time_is_answered(asking, served: Batches) -> None:
    served.plan(
        results=[
            {"match": "late", "times": 1, "type": "expired"},
            {"match": "late", "times": 1, "type": "errored", "kind": "api_error"},
        ]
    )
    one = asking()
    assert one.bulk("late", "early") == {"late": "late", "early": "early"}
    assert served.state["asked"] == ["late", "early", "late", "late"]
    assert one.statuses == ["ok", "expired", "unavailable", "ok"]


def test_an_outage_while_it_is_looked_at_is_waited_out_and_said(asking, served: Batches) -> None:
    served.plan(fail_looks=4, looks=2)
    one = asking()
    assert one.bulk("a") == {"a": "a"}
    assert one.warned == ["lm-outage", "lm-outage"]
    assert served.state["asked"] == ["a"]


def test_an_outage_longer_than_patience_ends_it_and_the_next_run_takes_it_up(
    asking, served: Batches
) -> None:
    served.plan(fail_looks=10_000)
    one = asking({"patience": 0.3})
    assert failure(one.bulk("a")["a"]) == "unavailable"
    assert one.warned == ["lm-outage", "lm-batch"]
    one.engine.close()
    served.plan(fail_looks=0)
    assert asking().bulk("a") == {"a": "a"}
    assert served.state["asked"] == ["a"]


def test_results_that_break_off_are_read_again(asking, served: Batches) -> None:
    served.plan(cut_after=2)
    one = asking()
    assert one.bulk("a", "b", "c") == {"a": "a", "b": "b", "c": "c"}
    assert one.statuses == ["ok"] * 3
    assert served.state["asked"] == ["a", "b", "c"]


def test_who_gives_up_leaves_the_batch_and_is_told_how_to_go_on(asking, served: Batches) -> None:
    served.plan(looks=10_000)
    first = asking()
    first.start("a", "b")
    served.wait(lambda state: any("msgbatch_0000" in one for one in state["requests"]))
    first.engine.close()
    (said,) = [event for event in first.events if isinstance(event, Warned)]
    assert (said.code, "msgbatch_0000" in said.message) == ("lm-batch", True)
    assert "same command" in (said.hint or "")
    served.plan(looks=1)
    # It may want more by now: what is under way is not sent again.
    second = asking()
    assert second.bulk("b", "c") == {"b": "b", "c": "c"}
    assert served.state["asked"] == ["a", "b", "c"]
    # What came with it is kept as well, for it is paid for.
    assert second.bulk("a") == {"a": "a"}
    assert served.state["asked"] == ["a", "b", "c"]


def test_two_at_once_send_a_question_once(asking, served: Batches) -> None:
    served.plan(looks=5)
    first, second = asking(), asking()
    first.start("a", "b")
    second.start("b", "c")
    assert [first.answer("a"), first.answer("b"), second.answer("b"), second.answer("c")] == [
        "a", "b", "b", "c",
    ]  # fmt: skip
    assert sorted(served.state["asked"]) == ["a", "b", "c"]
    assert len(first.rows("SELECT * FROM calls WHERE call LIKE '%\"ok\"%'")) == 3


@pytest.mark.parametrize("how", ["unsaid", "broken"])
def test_a_batch_that_came_there_unsaid_is_found_among_others(
    asking, served: Batches, how: str
) -> None:
    # Somebody else sends batches with the same key, some of the same size.
    for texts in (["x", "y"], ["v", "w"], ["u"]):
        served.send(*texts)
    served.plan(create=how, looks=3)
    one = asking({"timeout": 0.5})
    assert one.bulk("a", "b") == {"a": "a", "b": "b"}
    assert served.state["asked"] == ["x", "y", "v", "w", "u", "a", "b"]
    assert one.engine.spent.usd == pytest.approx(2 * PRICE)


def test_a_batch_that_never_came_there_is_sent_anew(asking, served: Batches) -> None:
    served.plan(create="lost")
    first = asking({"patience": 0.1, "timeout": 0.3})
    assert failure(first.bulk("a")["a"]) == "timeout"
    first.engine.close()
    assert first.rows("SELECT batch_id FROM batches") == [(None,)]
    served.plan(create="")
    one = asking()
    assert one.bulk("a") == {"a": "a"}
    assert served.state["asked"] == ["a"]
    assert len(one.rows("SELECT * FROM batches")) == 1


@pytest.mark.parametrize(("status", "kind"), [(400, "invalid-request"), (401, "authentication")])
def test_a_batch_that_is_refused_is_an_error_and_leaves_nothing(
    asking, served: Batches, status: int, kind: str
) -> None:
    served.plan(create=status)
    one = asking()
    found = one.bulk("a", "b")
    assert [failure(found["a"]), failure(found["b"])] == [kind, kind]
    assert one.rows("SELECT * FROM batches") == []
    # Nothing of the budget is held for it.
    assert one.engine.spent.tokens == 0


@pytest.mark.parametrize("status", [429, 529, 500])
def test_a_batch_that_cannot_be_taken_now_is_sent_later(
    asking, served: Batches, status: int
) -> None:
    served.plan(create=status)
    one = asking()
    assert one.bulk("a", "b") == {"a": "a", "b": "b"}
    assert served.state["asked"] == ["a", "b"]
    assert one.warned == ["lm-outage", "lm-outage"]


def test_a_batch_that_nobody_knows_is_not_paid_again(asking, served: Batches) -> None:
    served.plan(looks=10_000)
    first = asking()
    first.start("a")
    served.wait(lambda state: any("msgbatch_0000" in one for one in state["requests"]))
    first.engine.close()
    served.plan(gone=["msgbatch_0000"])
    found = asking().bulk("a")["a"]
    assert isinstance(found, LMError)
    assert "msgbatch_0000" in (found.cause or "")
    assert "the key that it was sent with" in (found.hint or "")
    assert served.state["asked"] == ["a"]


def test_what_is_older_than_results_are_kept_is_asked_again(asking, served: Batches) -> None:
    served.plan(looks=10_000)
    first = asking()
    first.start("a")
    served.wait(lambda state: any("msgbatch_0000" in one for one in state["requests"]))
    first.engine.close()
    with first.journal.transaction() as connection:
        connection.execute("UPDATE batches SET made_at = '2020-01-01T00:00:00+00:00'")
    served.plan(gone=["msgbatch_0000"], looks=1)
    assert asking().bulk("a") == {"a": "a"}
    assert served.state["asked"] == ["a", "a"]


def test_a_batch_holds_no_more_than_the_provider_takes(
    asking, served: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "MOST_REQUESTS", 2)
    one = asking()
    one.bulk("a", "b", "c", "d", "e")
    assert len(served.state["batches"]) == 3
    monkeypatch.setattr(batch, "MOST_BYTES", 2_500)
    one.bulk("x" * 900, "y" * 900)
    assert len(served.state["batches"]) == 5
    assert sorted(served.state["asked"])[:5] == ["a", "b", "c", "d", "e"]


def test_a_budget_is_kept_to_and_what_does_not_fit_is_not_sent(asking, served: Batches) -> None:
    # An answer may take 98 tokens and takes 20: of 250, two may be sent at first, then others.
    texts = [str(n) for n in range(30)]
    one = asking(max_tokens=250)
    found = one.bulk(*texts)
    answered = [text for text in texts if found[text] == text]
    assert all(isinstance(found[text], BudgetError) for text in texts if text not in answered)
    assert 0 < len(answered) < 30
    assert one.engine.spent.tokens == 20 * len(answered) <= 250
    assert served.state["asked"] == answered
    one.engine.close()
    more = asking(max_tokens=100_000)
    assert more.bulk(*texts) == {text: text for text in texts}
    assert served.state["asked"] == texts


def test_what_an_earlier_run_has_sent_needs_no_budget(asking, served: Batches) -> None:
    served.plan(looks=10_000)
    first = asking()
    first.start("a")
    served.wait(lambda state: any("msgbatch_0000" in one for one in state["requests"]))
    first.engine.close()
    served.plan(looks=1)
    one = asking(max_tokens=10)
    found = one.bulk("a", "b")
    assert found["a"] == "a"
    assert isinstance(found["b"], BudgetError)
    assert one.engine.spent.tokens == 0


def test_a_budget_in_dollars_is_reckoned_at_a_batchs_price(asking, served: Batches) -> None:
    most = asking().engine.estimate(Role.CORRECTOR, [question("a")]).usd
    assert most is not None
    one = asking(max_usd=most * 0.6)
    assert one.bulk("a") == {"a": "a"}
    assert isinstance(one.answer("b"), BudgetError)


def test_an_estimate_counts_what_is_kept_as_free_and_a_batch_at_half(asking) -> None:
    one = asking()
    asked: list[Request] = [question(text) for text in ("a", "b", "c", "c")]
    single = one.engine.estimate(Role.CORRECTOR, asked)
    assert (single.questions, single.kept) == (3, 0)
    one.bulk("a")
    rest = one.engine.estimate(Role.CORRECTOR, asked, batch=True)
    assert (rest.questions, rest.kept) == (2, 1)
    assert single.usd is not None
    assert rest.usd == pytest.approx(single.usd / 3)
    assert rest.tokens * 3 == single.tokens * 2


def test_a_profile_without_batches_is_an_error_that_names_those_that_have_them(
    tmp_path: Path,
) -> None:
    with provider() as served:
        one = Asking(tmp_path, {"default": {**claude(served), "model": "openai/gpt-5"}})
        with pytest.raises(UsageError, match="takes no batches") as caught:
            one.engine.check(Role.CORRECTOR, batch=True)
        assert "anthropic/" in (caught.value.cause or "")
        one.engine.close()
        one.journal.close()


def test_no_key_is_written_down(asking, served: Batches, tmp_path: Path) -> None:
    served.plan(
        results=[
            {"match": "a", "times": 9, "type": "errored", "kind": "invalid_request_error",
             "message": f"your key {KEY}"}
        ]
    )  # fmt: skip
    one = asking()
    found = one.bulk("a")["a"]
    assert isinstance(found, LMError)
    assert KEY not in f"{found!r} {found.cause} {one.events}"
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
