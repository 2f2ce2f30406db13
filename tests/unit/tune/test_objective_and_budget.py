"""The weights do what they say, and a budget is divided without remainder."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazy_pipeline.evaluate.result import Evaluation, Group, Metric
from hazy_pipeline.search_spaces import UseCase
from hazy_pipeline.tune.budget import slots_of, trials_per_candidate
from hazy_pipeline.tune.objective import FIDELITY_WEIGHTS, GROUP_WEIGHTS, objective


def evaluation(**values: float) -> Evaluation:
    groups = {"utility": Group.UTILITY, "dcr_share": Group.PRIVACY}
    return Evaluation(
        metrics=tuple(Metric(name=n, group=groups.get(n, Group.FIDELITY), value=v) for n, v in values.items())
    )


@pytest.mark.parametrize("use_case", UseCase)
def test_weights_sum_to_one(use_case: UseCase) -> None:
    assert sum(FIDELITY_WEIGHTS[use_case].values()) == pytest.approx(1)
    assert sum(GROUP_WEIGHTS[use_case].values()) == pytest.approx(1)


def test_objective_is_the_weighted_mean_of_the_groups() -> None:
    found = evaluation(marginals=1, pairs=1, triples=1, detection=0, coverage=1, utility=0.5, dcr_share=1)
    assert objective(found, UseCase.ANALYSIS) == pytest.approx(0.7 * 0.7 + 0.15 * 0.5 + 0.15 * 1)


def test_absent_groups_drop_out() -> None:
    found = evaluation(marginals=0.5, pairs=0.5, triples=0.5, detection=0.5, coverage=0.5)
    assert objective(found, UseCase.ML) == pytest.approx(0.5)


def test_perfect_marginals_cannot_outweigh_lost_pairs() -> None:
    independent = evaluation(marginals=1, pairs=0.8, triples=0.7, detection=0, coverage=0.8)
    dependent = evaluation(marginals=0.97, pairs=0.96, triples=0.94, detection=0.6, coverage=0.8)
    for use_case in UseCase:
        assert objective(dependent, use_case) > objective(independent, use_case)


@given(st.integers(1, 200), st.integers(1, 6), st.integers(1, 8))
def test_every_trial_belongs_to_one_worker(trials: int, candidates: int, workers: int) -> None:
    names = [f"c{i}" for i in range(candidates)]
    shares = trials_per_candidate(trials, names)
    assert sum(shares.values()) == max(trials, candidates)
    assert max(shares.values()) - min(shares.values()) <= 1
    for share in shares.values():
        slots = sorted(s for w in range(workers) for s in slots_of(w, workers=workers, trials=share))
        assert slots == list(range(share))


def test_a_candidate_with_nothing_to_tune_gets_one_trial() -> None:
    assert trials_per_candidate(9, ["a", "b"], frozenset({"a"})) == {"a": 1, "b": 8}
