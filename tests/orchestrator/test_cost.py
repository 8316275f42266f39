"""Calls wait in the journal until the store has them, and are summed up from there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flywheel.core.settings import LMProfile
from flywheel.lm import Journal
from flywheel.orchestrator import cost
from flywheel.store import Store
from flywheel.workspace import find
from tests.store.test_calls import ALL, OK


def test_calls_come_from_the_journal_into_the_store_once(tmp_path: Path) -> None:
    workspace = find(explicit=tmp_path)
    store = Store(workspace.store_path)
    assert cost(workspace, store).total is None
    journal = Journal(workspace.journal_path)
    for call in ALL:
        journal.record(call)
    journal.close()
    found = cost(workspace, store, by="model")
    assert found.total is not None
    assert found.total.calls == 4
    assert cost(workspace, store).total == found.total
    # Without an example by a model there is no price of one.
    assert (found.examples, found.usd_per_example, found.tokens_per_example) == (0, None, None)
    emptied = Journal(workspace.journal_path)
    assert emptied.calls() == ()
    emptied.close()


def test_a_damaged_call_is_told_each_time_and_the_others_are_counted(tmp_path: Path) -> None:
    workspace = find(explicit=tmp_path)
    store = Store(workspace.store_path)
    journal = Journal(workspace.journal_path)
    for call in ALL:
        journal.record(call)
    journal._connection.execute("UPDATE calls SET call = '{' WHERE rowid = 2")
    journal.close()
    for _ in range(2):
        found = cost(workspace, store)
        assert found.total is not None
        assert (found.total.calls + found.total.spared, found.damaged) == (len(ALL) - 1, 1)


def test_what_batches_and_caches_have_saved_is_reckoned_by_known_prices(tmp_path: Path) -> None:
    workspace = find(explicit=tmp_path)
    store = Store(workspace.store_path)
    published = replace(OK, model="anthropic/claude-sonnet-4-6")
    journal = Journal(workspace.journal_path)
    journal.record(published)
    journal.record(replace(published, call_id="c1", status="cached", usd=0.0))
    journal.record(replace(published, call_id="c2", purpose="written:insert@batch", usd=0.004))
    journal.close()
    found = cost(workspace, store)
    # 400 of the tokens came of the cache at a tenth of the price, 100 went in at a quarter more.
    once = (400 * (3 - 0.3) - 100 * (3.75 - 3)) / 1e6
    assert found.saved_by_cache == pytest.approx(once * 1.5)
    assert found.saved_by_batches == pytest.approx(0.004)
    own = LMProfile(model=published.model, input_price=10, output_price=20, cached_price=1)
    again = cost(workspace, store, profiles={"big": own})
    assert again.saved_by_cache == pytest.approx(400 * 9 / 1e6 * 1.5)


def test_a_saving_whose_price_nobody_knows_is_not_known(tmp_path: Path) -> None:
    workspace = find(explicit=tmp_path)
    store = Store(workspace.store_path)
    journal = Journal(workspace.journal_path)
    journal.record(replace(OK, model="own/model", cache_read_tokens=0, cache_write_tokens=0))
    # A model on this machine costs nothing, and its cache spares none of it.
    journal.record(replace(OK, call_id="c0", model="local"))
    assert cost(workspace, store).saved_by_cache == 0
    journal.record(replace(OK, call_id="c1", model="own/model"))
    journal.close()
    assert cost(workspace, store).saved_by_cache is None
