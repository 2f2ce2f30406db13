"""The whole evaluation: small, odd and hostile tables, choice of metrics, and the same answer every time."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazy_pipeline.evaluate import FAST_METRICS, METRICS, evaluate, leakage, privacy_gate, real_limit
from hazy_pipeline.evaluate.explain import describe
from hazy_pipeline.evaluate.learner import CELLS_PER_THREAD, boosted_predictions
from hazy_pipeline.evaluate.privacy import FAR, privacy_margin
from hazy_pipeline.evaluate.result import Evaluation, Group, Metric, pooled
from hazy_pipeline.evaluate.utility import informative_columns
from hazy_pipeline.schema import Column, Kind, TableSchema

KINDS = {
    "numbers": Kind.NUMERIC,
    "whole": Kind.INTEGER,
    "letters": Kind.CATEGORICAL,
    "rare": Kind.CATEGORICAL,
    "truth": Kind.BOOLEAN,
    "same": Kind.INTEGER,
    "nothing": Kind.CATEGORICAL,
    "empty": Kind.NUMERIC,
    "key": Kind.IDENTIFIER,
    "words": Kind.TEXT,
}


def odd_rows(n, seed):
    """Every kind of column that has broken a metric somewhere."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=n)
    return pa.table({
        "numbers": pa.array(numbers, mask=rng.random(n) < 0.2),
        "whole": pa.array(rng.integers(0, 3, n)),
        "letters": pa.array(rng.choice(["a", "b", "c"], n)).dictionary_encode(),
        "rare": pa.array([f"only {seed}"] + ["x"] * (n - 1)),
        "truth": pa.array(numbers > 0),
        "same": pa.array(np.ones(n, dtype=int)),
        "nothing": pa.array([None] * n, pa.string()),
        "empty": pa.array([None] * n, pa.float64()),
        "key": pa.array(np.arange(n) + seed * 10**6),
        "words": pa.array([f"free text {i} of {seed}" for i in range(n)]),
    })  # fmt: skip


SCHEMA = TableSchema(name="odd", columns=tuple(Column(name=n, storage="", kind=k) for n, k in KINDS.items()))


@given(st.integers(1, 100), st.integers(1, 100), st.integers(1, 100), st.sampled_from([None, *KINDS]))
@settings(max_examples=15)
def test_small_and_odd_tables_give_sensible_numbers(n_synthetic, n_train, n_reference, target):
    found = evaluate(odd_rows(n_synthetic, 1), odd_rows(n_train, 2), odd_rows(n_reference, 3), SCHEMA, target=target)
    limit = real_limit(odd_rows(n_train, 2), odd_rows(n_reference, 3), SCHEMA, target=target)
    for evaluation in (found, limit):
        assert {"marginals", "pairs", "triples", "dcr_share", "exact_copies", "membership"} <= {
            metric.name for metric in evaluation.metrics
        }
        for metric in evaluation.metrics:
            assert 0 <= metric.value <= 1
            assert 0 <= metric.standard_error <= 1
            assert np.isfinite([metric.value, metric.standard_error, metric.raw]).all()
    assert all(sentence.endswith(".") for sentence in describe(found, limit))


def test_a_copied_table_of_twenty_rows_fails_the_gate_and_fresh_ones_pass():
    train = odd_rows(20, 1)
    assert privacy_gate(evaluate(train, train, odd_rows(20, 2), SCHEMA, target=None))
    for seed in range(3, 8):
        assert privacy_gate(evaluate(odd_rows(20, seed), train, odd_rows(20, 2), SCHEMA, target=None)) == []


def test_identifiers_and_texts_do_not_matter(made, described):
    train, unseen = (described(made(300, seed))[0] for seed in (1, 2))
    _, schema = described(made(300, 1))
    plain = evaluate(unseen, train, unseen, schema, target="owner")
    keyed = [rows.append_column("key", pa.array([f"{name}-{i}" for i in range(300)]))
             for name, rows in (("s", unseen), ("t", train), ("r", unseen))]  # fmt: skip
    schema = schema.with_columns([*schema.columns, Column(name="key", storage="string", kind=Kind.IDENTIFIER)])
    assert evaluate(*keyed, schema, target="owner").metrics == plain.metrics


def test_a_table_without_a_column_to_judge_has_no_metrics():
    rows = pa.table({"key": ["a", "b"]})
    schema = TableSchema(name="t", columns=(Column(name="key", storage="string", kind=Kind.IDENTIFIER),))
    assert evaluate(rows, rows, rows, schema, target=None).metrics == ()


def test_only_the_metrics_asked_for(made, described):
    rows, schema = described(made(100, 1))
    found = evaluate(rows, rows, rows, schema, target=None, metrics={"pairs", "marginals"})
    assert [metric.name for metric in found.metrics] == ["marginals", "pairs"]
    assert set(FAST_METRICS) < set(METRICS)
    with pytest.raises(ValueError, match="unknown metric 'quality'; there are marginals"):
        evaluate(rows, rows, rows, schema, target=None, metrics=["quality"])


def test_the_same_question_has_the_same_answer(made, described):
    (train, schema), unseen, synthetic = described(made(600, 1)), described(made(600, 2))[0], described(made(600, 3))[0]
    once, again = (evaluate(synthetic, train, unseen, schema, target="owner").metrics for _ in range(2))
    assert once == again


def test_predictions_do_not_depend_on_the_number_of_threads(monkeypatch):
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=(9_000, 11)), rng.integers(0, 9, 9_000)])
    y = (x[:, 0] + rng.normal(size=9_000) > 0).astype(float)
    discrete, found = np.arange(12) == 11, []
    assert x.size > CELLS_PER_THREAD
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        found.append(boosted_predictions(x, y, x, discrete, n_classes=2, trees=20, random_state=0))
    np.testing.assert_array_equal(*found)


def test_utility_copes_with_classes_that_synthetic_rows_lack(described):
    rng = np.random.default_rng(0)
    x = rng.normal(size=900)
    real = pd.DataFrame({"x": x, "y": np.where(x > 0.5, "high", np.where(x < -0.5, "low", "middle"))})
    train, schema = described(real[:450])
    unseen = described(real[450:].reset_index(drop=True))[0]
    lacking = described(real[:450][real.y[:450] != "low"].reset_index(drop=True).replace("high", "unheard of"))[0]
    found = evaluate(lacking, train, unseen, schema, target="y", metrics=["utility"])["utility"]
    assert 0 <= found.value < 0.9
    one = described(real[:450].assign(y="middle"))[0]
    assert evaluate(one, train, unseen, schema, target="y", metrics=["utility"])["utility"].value == 0


def test_utility_is_absent_where_not_even_real_rows_teach_anything(described):
    rng = np.random.default_rng(0)
    noise = pd.DataFrame({"x": rng.normal(size=400), "y": rng.choice(["a", "b"], 400)})
    train, schema = described(noise[:200])
    unseen = described(noise[200:].reset_index(drop=True))[0]
    assert "utility" not in evaluate(train, train, unseen, schema, target="y", metrics=["utility"])


@pytest.mark.parametrize("seed", [1, 2, 6, 10, 19, 22])
def test_independent_columns_teach_nothing_however_rare_their_values(described, seed):
    values = np.random.default_rng(seed).zipf(1.5, (540, 8)) % 60
    noise = pd.DataFrame(values.astype(str), columns=[f"c{i}" for i in range(8)])
    (synthetic, schema), (train, _), (unseen, _) = (
        described(noise[first:last].reset_index(drop=True)) for first, last in ((0, 240), (240, 480), (480, 540))
    )
    assert evaluate(synthetic, train, unseen, schema, target=None, metrics=["utility"]).metrics == ()


def test_columns_worth_predicting_are_those_that_hang_on_others(made, described):
    from hazy_pipeline.evaluate.rows import read_rows

    frame = made(2_000, 1)
    frame["noise"] = np.random.default_rng(5).normal(size=2_000)
    frame["twin"] = frame["owner"]
    rows, schema = described(frame)
    read = read_rows(rows, rows, rows, schema)
    names = [read.names[j] for j in informative_columns(read)]
    assert len(names) == 5
    assert "noise" not in names[:4]
    assert len({"owner", "twin"} & set(names)) == 1


def test_common_rows_are_no_copies(described):
    """Few possible rows: every synthetic row equals some training row, and so does every unseen one."""
    rng = np.random.default_rng(0)
    draw = lambda: described(pd.DataFrame({"a": rng.choice(list("xyz"), 500), "b": rng.choice(list("uv"), 500)}))  # noqa: E731
    (train, schema), (unseen, _), (synthetic, _) = draw(), draw(), draw()
    found = evaluate(synthetic, train, unseen, schema, target=None)
    assert found["exact_copies"].raw == 1
    assert found["exact_copies"].value == 1
    assert privacy_gate(found) == []


def test_rows_that_real_data_exhaust_are_no_copies(described):
    """Real rows are all different and fill half of what is possible: new ones hit seen and unseen ones alike."""
    rng = np.random.default_rng(0)
    cells = pd.DataFrame(
        [(str(a), str(b), str(c)) for a in range(10) for b in range(10) for c in range(10)], columns=list("abc")
    )
    order = rng.permutation(1_000)
    train, schema = described(cells.iloc[order[:400]].reset_index(drop=True))
    unseen = described(cells.iloc[order[400:800]].reset_index(drop=True))[0]
    synthetic = described(cells.iloc[rng.integers(0, 1_000, 2_000)].reset_index(drop=True))[0]
    found = evaluate(synthetic, train, unseen, schema, target=None)
    assert found["exact_copies"].raw == pytest.approx(0.4, abs=0.05)
    assert privacy_gate(found) == []


def test_leaked_rows_are_found_in_a_published_hold_out(shared):
    folder = shared / "data" / "flat"
    read = lambda name: pa.Table.from_pandas(pd.read_csv(folder / f"{name}.csv.gz"), preserve_index=False)  # noqa: E731
    assert leakage(read("adult_argn_train"), read("adult_argn_test")) > 0.2
    assert leakage(read("adult_train"), read("adult_test")) == 0


def test_leakage_is_the_share_of_copied_rows_and_ignores_identifiers(made, described):
    (train, schema), unseen = described(made(2_000, 1)), described(made(2_000, 2))[0]
    mixed = pa.concat_tables([train.slice(0, 500), unseen.slice(500)])
    assert leakage(train, unseen) == 0
    assert leakage(train, mixed) == pytest.approx(0.25, abs=0.01)
    keys = [rows.append_column("key", pa.array(np.arange(2_000) + k)) for k, rows in ((0, train), (9_999, mixed))]
    schema = schema.with_columns([*schema.columns, Column(name="key", storage="int64", kind=Kind.IDENTIFIER)])
    assert leakage(*keys, schema) == pytest.approx(0.25, abs=0.01)


def test_the_gate_names_number_and_limit():
    copied = Evaluation(metrics=(
        Metric(name="dcr_share", group=Group.PRIVACY, value=0.0, standard_error=0.01, raw=0.9),
        Metric(name="membership", group=Group.PRIVACY, value=0.0, standard_error=0.4, raw=0.6),
        Metric(name="exact_copies", group=Group.PRIVACY, value=0.9, standard_error=0.001, raw=0.12),
    ))  # fmt: skip
    closer, copies = privacy_gate(copied)  # the membership attack may be chance: four errors reach 1.3
    assert "90.0%" in closer
    assert "at most 56.0%" in closer
    assert "12.00%" in copies
    assert "10.00% more" in copies


def test_what_lies_at_the_gates_limit_is_not_clearly_beyond_it():
    def rows(nearer: float, copied: float) -> Evaluation:
        return Evaluation(metrics=(
            Metric(name="dcr_share", group=Group.PRIVACY, value=0.0, standard_error=0.02, raw=nearer),
            Metric(name="exact_copies", group=Group.PRIVACY, value=1 - copied, standard_error=0.001, raw=copied),
        ))  # fmt: skip

    assert len(privacy_gate(rows(0.565, 0.006))) == 2
    assert privacy_gate(rows(0.575, 0.006), beyond=2) == privacy_gate(rows(0.5, 0.0))
    closer, copies = privacy_gate(rows(0.585, 0.008), beyond=2)
    assert "at most 58.0%" in closer
    assert "at most 0.70% more" in copies


def test_the_margin_is_that_of_the_measure_nearest_to_its_limit_in_its_own_errors():
    def rows(nearer: float, copied: float) -> Evaluation:
        return Evaluation(metrics=(
            Metric(name="dcr_share", group=Group.PRIVACY, value=0.0, standard_error=0.04, raw=nearer),
            Metric(name="exact_copies", group=Group.PRIVACY, value=1 - copied, standard_error=0.001, raw=copied),
        ))  # fmt: skip

    # limits: half a share and 0.08 (four errors of 0.02, more than the tolerance), and 0.005 copies
    assert privacy_margin(rows(0.54, 0.001)) == pytest.approx(2.0)
    assert privacy_margin(rows(0.51, 0.002)) == pytest.approx(3.0)
    assert privacy_margin(rows(0.60, 0.0)) == pytest.approx(-1.0)
    assert privacy_margin(rows(0.5, 0.5)) == -FAR
    assert privacy_margin(Evaluation(metrics=())) == FAR


def test_what_is_measured_on_several_splits_is_known_better_and_the_gate_asks_for_more() -> None:
    def attack(auc: float, error: float = 0.08) -> Evaluation:
        found = Metric(name="membership", group=Group.PRIVACY, value=1 - 2 * (auc - 0.5), standard_error=error, raw=auc)
        return Evaluation(metrics=(found,), seconds=1.0)

    alone = attack(0.60)
    five = pooled([attack(auc) for auc in (0.56, 0.58, 0.60, 0.62, 0.64)])
    assert five["membership"].raw == pytest.approx(alone["membership"].raw)
    assert five["membership"].standard_error == pytest.approx(0.08 / 5**0.5)
    assert five.seconds == 5.0
    assert privacy_gate(alone) == []  # four errors of few rows: anything may pass
    assert len(privacy_gate(five)) == 1
    assert pooled([alone]) is alone
    some = pooled([alone, Evaluation(metrics=())])
    assert some["membership"] == alone["membership"]  # of those that have it
