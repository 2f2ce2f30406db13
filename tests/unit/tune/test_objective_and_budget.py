"""The weights do what they say; what cannot be afforded is ruled out; rungs."""

import pytest

from hazy_pipeline.evaluate.result import Evaluation, Group, Metric
from hazy_pipeline.search_spaces import UseCase
from hazy_pipeline.tune.budget import Prediction, ruled_out
from hazy_pipeline.tune.objective import FIDELITY_WEIGHTS, GROUP_WEIGHTS, objective, objective_error
from hazy_pipeline.tune.rungs import epochs_of, rungs_of, splits_of


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


def test_the_error_of_the_objective_is_that_of_its_metrics_weighted() -> None:
    one = Evaluation(metrics=(Metric(name="detection", group=Group.FIDELITY, value=0.5, standard_error=0.02),
                              Metric(name="utility", group=Group.UTILITY, value=0.5, standard_error=0.04)))  # fmt: skip
    weights = GROUP_WEIGHTS[UseCase.ML]
    total = weights[Group.FIDELITY] + weights[Group.UTILITY]
    expected = ((0.02 * weights[Group.FIDELITY]) ** 2 + (0.04 * weights[Group.UTILITY]) ** 2) ** 0.5 / total
    assert objective_error(one, UseCase.ML) == pytest.approx(expected)


def test_a_family_that_cannot_be_afforded_is_ruled_out_with_the_reason() -> None:
    predicted = {"small": Prediction(5, 10**9), "slow": Prediction(5_000, 10**9), "large": Prediction(5, 9 * 10**9)}
    assert ruled_out(predicted, seconds=600, memory=8 * 10**9) == {
        "slow": "it is expected to take 5,000 s, more than 600 s",
        "large": "it is expected to need 9.0 GB of memory, more than 8.0 GB",
    }
    assert set(ruled_out(predicted, seconds=10_000, memory=None)) == set()


def test_rungs_have_three_times_the_rows_of_those_below_and_enough_to_tell() -> None:
    assert rungs_of(50_000) == rungs_of(18_000) == (9, 3, 1)
    assert rungs_of(17_999) == (3, 1)
    assert rungs_of(5_999) == rungs_of(10) == (1,)
    assert [epochs_of(90, part) for part in (9, 3, 1)] == [30, 52, 90]


def test_few_validation_rows_are_made_more_by_splitting_again_and_no_row_validates_twice() -> None:
    assert splits_of(8_000, 1_000) == splits_of(8_000, 5_000) == 1
    assert splits_of(4_800, 600) == 2
    assert splits_of(944, 104) == splits_of(270, 34) == 5
    assert splits_of(100, 60) == 2
