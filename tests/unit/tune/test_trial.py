"""One trial on its rungs."""

from dataclasses import replace

import pytest

from hazy_pipeline.evaluate import privacy_gate
from hazy_pipeline.tune import trial
from hazy_pipeline.tune.search import Search
from hazy_pipeline.tune.trial import Data
from hazy_pipeline.tune.worker import Worker
from tests.unit.tune.conftest import ignore


def test_on_few_rows_the_privacy_gate_objects_only_to_what_is_clearly_beyond_its_limit(
    search: Search, steps_of: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def gate(evaluation, *, beyond: float = 0.0) -> list[str]:
        asked.append(beyond)
        return privacy_gate(evaluation, beyond=beyond)

    monkeypatch.setattr(trial, "privacy_gate", gate)
    worker = Worker(replace(search, rungs=(9, 3, 1), trials=1), "gaussian_copula", steps_of, on_trial=ignore)
    record = worker.make_one()
    assert record is not None
    assert list(record.rungs) == [1, 3, 9]
    assert asked == [2.0, 2.0, 0.0]
