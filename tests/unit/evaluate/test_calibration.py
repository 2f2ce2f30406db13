"""Every metric goes the right way: real rows at the top, copies caught, noise punished by degrees."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from hazy_pipeline.evaluate import METRICS, evaluate, privacy_gate, real_limit

SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
LIKENESS = ("pairs", "triples", "detection", "coverage", "utility")
PRIVACY = ("dcr_share", "exact_copies", "membership")


@pytest.fixture(scope="module", params=["adult", "made"])
def halves(request, described, made):
    """(training rows, unseen rows, schema, target) of the published Adult split and of a made-up table."""
    if request.param == "adult":
        folder = request.getfixturevalue("shared") / "data" / "flat"
        train, unseen = (pd.read_csv(folder / f"adult_{part}.csv.gz", nrows=3_000) for part in ("train", "test"))
        target = "income"
    else:
        train, unseen, target = made(2_500, 1), made(2_500, 2), "owner"
    rows, schema = described(train)
    return rows, described(unseen)[0], schema, target


@pytest.fixture(scope="module")
def by_share(halves, redrawn):
    """Training rows of which ever more values were redrawn, judged."""
    train, unseen, schema, target = halves
    shares = (0.0, *SHARES, 1.0)
    return [evaluate(redrawn(train, share), train, unseen, schema, target=target) for share in shares]


@pytest.fixture(scope="module")
def limit(halves):
    train, unseen, schema, target = halves
    return real_limit(train, unseen, schema, target=target)


def falls(values, errors):
    """Never rises by more than sampling error explains, and falls as a whole."""
    steps = np.diff(values)
    return (steps <= 3 * np.hypot(errors[1:], errors[:-1]) + 0.003).all() and values[-1] < values[0]


@pytest.mark.parametrize("name", LIKENESS)
def test_likeness_falls_with_every_redrawn_share(by_share, name):
    # what a model learns from independent columns is chance, which the test rows' standard error does not speak of
    found = [evaluation[name] for evaluation in (by_share[:-1] if name == "utility" else by_share)]
    assert falls([m.value for m in found], np.array([m.standard_error for m in found]))


@pytest.mark.parametrize("name", PRIVACY)
def test_privacy_rises_with_every_redrawn_share(by_share, name):
    found = [evaluation[name] for evaluation in by_share]
    assert falls([-m.value for m in found], np.array([m.standard_error for m in found]))


def test_redrawing_leaves_marginals_alone(by_share, limit):
    for evaluation in by_share:
        assert evaluation["marginals"].value == pytest.approx(limit["marginals"].value, abs=0.02)


def test_independent_columns_win_marginals_and_nothing_else(by_share, limit):
    independent = by_share[-1]
    assert independent["detection"].value < 0.35 < limit["detection"].value
    assert independent["utility"].value < 0.2
    assert independent["pairs"].value < limit["pairs"].value - 0.02


def test_a_copy_looks_perfect_and_fails_the_privacy_gate(by_share, limit):
    copy = by_share[0]
    for name in LIKENESS:
        assert copy[name].value == pytest.approx(limit[name].value, abs=1e-9)
    assert len(privacy_gate(copy)) == 3
    for name in PRIVACY:
        assert copy[name].value < 0.7 < limit[name].value


def test_mostly_copied_rows_fail_the_privacy_gate(by_share):
    assert privacy_gate(by_share[1])


def test_real_rows_pass_the_privacy_gate(limit):
    assert privacy_gate(limit) == []


def test_independent_columns_pass_the_privacy_gate(by_share):
    assert privacy_gate(by_share[-1]) == []


def test_a_tenth_of_copies_among_new_rows_fails_the_privacy_gate(halves, made, redrawn):
    train, unseen, schema, target = halves
    n = train.num_rows
    mixed = pa.concat_tables([train.slice(0, n // 10), redrawn(train, 1.0).slice(n // 10)])
    assert privacy_gate(evaluate(mixed, train, unseen, schema, target=target, metrics=PRIVACY))


def test_the_limit_of_real_rows(limit):
    assert limit["detection"].raw == pytest.approx(0.5, abs=4 * limit["detection"].standard_error)
    assert limit["utility"].value == pytest.approx(1.0)
    assert limit["dcr_share"].raw == pytest.approx(0.5, abs=0.04)
    assert limit["membership"].raw == pytest.approx(0.5, abs=0.03)
    assert limit["coverage"].value == pytest.approx(1 - 2**-5, abs=0.02)
    assert set(METRICS) == {metric.name for metric in limit.metrics}


def test_real_rows_against_the_very_same_rows(halves):
    train, _, schema, target = halves
    same = evaluate(train, train, train, schema, target=target, metrics=("marginals", "pairs", "triples", "coverage"))
    assert [metric.value for metric in same.metrics] == [1.0] * 4


def test_without_a_target_several_columns_are_predicted(halves, redrawn):
    train, unseen, schema, _ = halves
    found = [evaluate(redrawn(train, share), train, unseen, schema, target=None, metrics=["utility"])["utility"]
             for share in (0.0, 0.5, 1.0)]  # fmt: skip
    values = [metric.value for metric in found]
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(1)
    assert values[2] < 0.25


def test_standard_errors_match_the_spread_over_samples(made, described, redrawn):
    """Twelve independent draws of everything: their spread is what each draw's standard error foretold."""
    names = ("pairs", "detection", "coverage", "utility", "dcr_share", "membership")
    found = []
    for seed in range(12):
        (train, schema), unseen = described(made(1_000, 3 * seed)), described(made(1_000, 3 * seed + 1))[0]
        synthetic = redrawn(described(made(1_000, 3 * seed + 2))[0], 0.4, seed)
        found.append(evaluate(synthetic, train, unseen, schema, target="owner", metrics=names))
    for name in names:
        scale = 1 if name in ("pairs", "coverage", "utility") else 2
        spread = np.std([e[name].value if scale == 1 else e[name].raw for e in found], ddof=1)
        foretold = np.mean([e[name].standard_error for e in found]) / scale
        assert 0.4 < spread / foretold < 2.5, name
