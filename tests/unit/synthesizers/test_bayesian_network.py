"""The Bayesian network as users meet it: what it learns, keeps, stores, and how it behaves on odd tables."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pytest

from hazy_pipeline import compiled
from hazy_pipeline.errors import ConfigurationError, ModelError
from hazy_pipeline.schema import Kind
from hazy_pipeline.synthesizers.base import load_synthesizer
from hazy_pipeline.synthesizers.bayesian_network import BayesianNetwork, network, search, synthesizer
from hazy_pipeline.synthesizers.bayesian_network.network import count_tables
from hazy_pipeline.tables import Tables


def fitted(tables: Tables, **settings) -> BayesianNetwork:
    return BayesianNetwork(tables.schema, **settings).fit(tables, validation=tables)


def drawn(model: BayesianNetwork, n_rows: int = 20_000, seed: int = 1) -> pd.DataFrame:
    return model.sample(n_rows, random_state=seed)[model.table.name].to_pandas()


def chain(n: int, seed: int = 0) -> pd.DataFrame:
    """a -> b -> c and a -> d with known conditionals, and two dependent numbers."""
    rng = np.random.default_rng(seed)
    a = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    b = np.where(rng.random(n) < 0.8, a, rng.integers(0, 3, n))
    c = np.where(rng.random(n) < 0.7, 2 - b, rng.integers(0, 3, n))
    d = rng.random(n) < np.array([0.1, 0.5, 0.9])[a]
    x = rng.normal(a * 2.0, 1.0)
    y = x + rng.normal(0, 0.5, n)
    names = np.array(["one", "two", "three"])
    return pd.DataFrame({"a": names[a], "b": names[b], "c": names[c], "d": d, "x": x.round(2), "y": y.round(2)})


def tvd(left: pd.DataFrame, right: pd.DataFrame) -> float:
    """Total variation distance between the joint frequencies of discrete columns."""
    p, q = left.value_counts(normalize=True), right.value_counts(normalize=True)
    return float(p.sub(q, fill_value=0).abs().sum() / 2)


@pytest.mark.parametrize("structure", ["greedy", "chow_liu"])
def test_a_known_joint_comes_back(tables_of, structure):
    rows = chain(20_000)
    model = fitted(tables_of(rows), structure=structure)
    synthetic = drawn(model)
    discrete = ["a", "b", "c", "d"]
    other = chain(20_000, seed=5)
    assert tvd(synthetic[discrete], rows[discrete]) < tvd(other[discrete], rows[discrete]) + 0.02
    assert synthetic["x"].corr(synthetic["y"]) == pytest.approx(rows["x"].corr(rows["y"]), abs=0.02)
    for value in ("one", "two", "three"):
        of = [frame.loc[frame["a"] == value, "x"].mean() for frame in (synthetic, rows)]
        assert of[0] == pytest.approx(of[1], abs=0.1)


def test_the_learned_joint_is_close_to_the_true_one_in_information(tables_of):
    model = fitted(tables_of(chain(30_000)[["a", "b", "c", "d"]]))
    p = drawn(model, 200_000).value_counts(normalize=True)
    q = chain(1_000_000, seed=9)[["a", "b", "c", "d"]].value_counts(normalize=True)
    assert set(p.index) == set(q.index)
    assert float((q * np.log(q / p.reindex(q.index))).sum()) < 0.002


def test_independent_columns_get_no_parents(tables_of):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"a": rng.integers(0, 4, 5_000).astype(str), "b": rng.integers(0, 4, 5_000).astype(str),
                         "x": rng.normal(size=5_000)})  # fmt: skip
    assert sum(bool(family.steps) for family in fitted(tables_of(rows)).network_.families) <= 1


def test_shares_of_nulls_spikes_and_rare_values(tables_of):
    rng = np.random.default_rng(0)
    n = 20_000
    amount = np.where(rng.random(n) < 0.4, 0.0, rng.lognormal(3, 1, n).round(2))
    amount[rng.random(n) < 0.2] = np.nan
    kind = rng.choice([*"abcdefghij", None], n, p=[0.6, 0.2, 0.1, *[0.005] * 7, 0.065])
    rows = pa.table({"amount": amount, "kind": pa.array(kind)})
    rows = rows.set_column(0, "amount", pa.array(amount, from_pandas=True))
    synthetic = drawn(fitted(tables_of(rows), max_categories=5))
    assert synthetic["amount"].isna().mean() == pytest.approx(np.isnan(amount).mean(), abs=0.015)
    assert (synthetic["amount"] == 0).mean() == pytest.approx((amount == 0).mean(), abs=0.015)
    assert synthetic["kind"].isna().mean() == pytest.approx(0.065, abs=0.01)
    for rare in "defghij":
        assert (synthetic["kind"] == rare).mean() == pytest.approx(0.005, abs=0.003)


def test_what_determines_another_column_does_so_in_every_synthetic_row(tables_of):
    rng = np.random.default_rng(0)
    city = rng.zipf(1.5, 10_000) % 40
    rows = pd.DataFrame({"city": np.char.add("city", city.astype(str)), "country": np.char.add("land", (city % 6).astype(str)),
                         "level": city // 4, "noise": rng.normal(size=10_000)})  # fmt: skip
    kept = rows.groupby("city")["city"].transform("size") >= 5
    rows = rows[kept].reset_index(drop=True)
    synthetic = drawn(fitted(tables_of(rows, {"level": Kind.INTEGER})))
    pairs = set(map(tuple, rows[["city", "country", "level"]].to_numpy().tolist()))
    assert set(map(tuple, synthetic[["city", "country", "level"]].to_numpy().tolist())) <= pairs


def test_nulls_that_always_come_together_do_so_in_every_synthetic_row(tables_of):
    rng = np.random.default_rng(0)
    missing = rng.random(5_000) < 0.2
    rows = pd.DataFrame({"reviews": rng.poisson(5, 5_000).astype(float), "rate": rng.exponential(2, 5_000).round(2)})
    rows[missing] = np.nan
    synthetic = drawn(fitted(tables_of(rows)))
    assert (synthetic["reviews"].isna() == synthetic["rate"].isna()).all()


def test_saved_and_loaded_elsewhere_the_rows_are_the_same(tables_of, tmp_path):
    model = fitted(tables_of(chain(2_000)))
    model.save(tmp_path / "model")
    expected = model.sample(70_000, random_state=3)["rows"]
    script = (
        "import sys, pyarrow.parquet as pq; from pathlib import Path;"
        "from hazy_pipeline.synthesizers.base import load_synthesizer;"
        "pq.write_table(load_synthesizer(Path(sys.argv[1])).sample(70_000, random_state=3)['rows'], sys.argv[2]);"
        "assert 'pgmpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "model"), str(tmp_path / "rows.parquet")], check=True)
    import pyarrow.parquet as pq

    assert pq.read_table(tmp_path / "rows.parquet").equals(expected)


def test_rows_depend_on_the_seed_alone(tables_of):
    tables = tables_of(chain(2_000))
    model, again = fitted(tables, random_state=4), fitted(tables, random_state=4)
    whole = model.sample(100_000, random_state=1)["rows"]
    assert again.sample(100_000, random_state=1)["rows"].equals(whole)
    assert not model.sample(100_000, random_state=2)["rows"].equals(whole)
    small = pa.Table.from_batches(model.sample_batches(100_000, batch_rows=7_000, random_state=1))
    assert small.equals(whole)
    shards = [pa.Table.from_batches(model.sample_batches(100_000, random_state=1, shard=(i, 2))) for i in range(2)]
    assert pa.concat_tables(shards).combine_chunks().equals(whole.combine_chunks())


@pytest.mark.parametrize("damage", ["missing", "cut", "newer"])
def test_a_damaged_folder_says_so(tables_of, tmp_path, damage):
    fitted(tables_of(chain(200))).save(tmp_path)
    if damage == "missing":
        (tmp_path / synthesizer.ARRAYS_FILE).unlink()
    elif damage == "cut":
        file = tmp_path / synthesizer.ARRAYS_FILE
        file.write_bytes(file.read_bytes()[:200])
    else:
        model = json.loads((tmp_path / "model.json").read_text())
        (tmp_path / "model.json").write_text(json.dumps(model | {"format_version": 99}))
    with pytest.raises(ModelError, match=str(tmp_path)):
        load_synthesizer(tmp_path)


def odd_tables() -> dict[str, pa.Table]:
    rng = np.random.default_rng(0)
    wide = {f"c{i}": rng.normal(size=200) if i % 2 else rng.integers(0, 3, 200).astype(str) for i in range(300)}
    return {
        "single row": pa.table({"a": ["x"], "b": [1.5], "c": [True]}),
        "two rows": pa.table({"a": ["x", "y"], "b": [1.5, None]}),
        "all null": pa.table({"a": pa.array([None] * 50, pa.string()), "b": pa.array([None] * 50, pa.float64())}),
        "constant": pa.table({"a": ["x"] * 50, "b": [7] * 50, "c": list(range(50))}),
        "extreme": pa.table({"a": [-1.7e308, 1.7e308, 0.0, 1e-300] * 20, "b": [2**63 - 1, -(2**63)] * 40}),
        "unicode": pa.table({"Größe": ["ä", "日本", ""] * 20, "a b": [1, 2, 3] * 20}),
        "300 columns": pa.table(wide),
    }


@pytest.mark.parametrize("name", odd_tables())
def test_odd_tables_are_learned_and_drawn(tables_of, tmp_path, name):
    rows = odd_tables()[name]
    model = fitted(tables_of(rows))
    model.save(tmp_path / "model")
    synthetic = load_synthesizer(tmp_path / "model").sample(500)["rows"]
    assert synthetic.schema.names == rows.schema.names
    assert synthetic.schema.types == rows.schema.types
    assert synthetic.num_rows == 500
    assert model.sample(0)["rows"].num_rows == 0
    for column in rows.schema.names:
        if rows[column].null_count == 0:
            assert synthetic[column].null_count == 0
        if rows[column].null_count == rows.num_rows:
            assert synthetic[column].null_count == 500


def test_only_unmodelled_columns_are_made_anew(tables_of):
    rows = pa.table({"id": [f"u{i:04d}" for i in range(100)], "same": ["x"] * 100})
    model = fitted(tables_of(rows, {"id": Kind.IDENTIFIER, "same": Kind.CONSTANT}))
    synthetic = model.sample(50)["rows"]
    assert synthetic["same"].to_pylist() == ["x"] * 50
    assert len(set(synthetic["id"].to_pylist())) == 50


def test_counting_in_batches_is_counting_at_once(tables_of):
    model = fitted(tables_of(chain(3_000)))
    bins, families = model.network_.bins, model.network_.families
    rows = pa.Table.from_pandas(chain(3_000, seed=7), preserve_index=False)
    whole = count_tables(families, bins, [rows], model.encoder_.transform)
    cuts = [0, 1, 500, 2_999, 3_000]
    parts = count_tables(families, bins, [rows.slice(a, b - a) for a, b in pairwise(cuts)], model.encoder_.transform)
    for left, right in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(left, right)


def test_more_rows_than_the_sample_are_all_counted(tables_of, monkeypatch):
    rows = chain(6_000)
    monkeypatch.setattr(synthesizer, "SAMPLE_ROWS", 2_000)
    synthetic = drawn(fitted(tables_of(rows)))
    assert tvd(synthetic[["a", "b"]], rows[["a", "b"]]) < 0.02


def test_what_is_saved_holds_no_value_of_fewer_rows_than_asked(tables_of, tmp_path):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"salary": rng.lognormal(8, 1, 2_000), "age": rng.integers(18, 95, 2_000),
                         "city": rng.choice(["A", "B", *[f"hidden{i}" for i in range(4)]], 2_000, p=[0.6, 0.396, *[0.001] * 4])})  # fmt: skip
    rows = rows[rows.groupby("city")["city"].transform("size").lt(5) | rows["city"].isin(["A", "B"])]
    model = fitted(tables_of(rows), min_rows=5)
    model.save(tmp_path)
    text = (tmp_path / "model.json").read_text()
    assert "hidden" not in text
    stored = np.array(json.loads(text)["state"]["network"]["bins"]["salary"]["low"])
    ranked = np.sort(rows["salary"])
    assert not np.isin(stored, ranked[5:-5]).any()
    age = model.network_.bins["age"]
    values = age.low[age.low == age.high]
    counts = rows["age"].value_counts()
    assert all(counts[int(value)] >= 5 for value in values[1:-1])
    with np.load(tmp_path / synthesizer.ARRAYS_FILE, allow_pickle=False) as arrays:
        tables = [arrays[name] for name in arrays.files]
    assert len(tables) == len(model.network_.families)
    for table in tables:  # conditional probabilities and nothing else
        assert (table >= 0).all()
        assert (table <= 1 + 1e-6).all()


def additive(n: int, seed: int = 0) -> pd.DataFrame:
    """A binary column to which ten others add a little each, more than any table of parents can hold."""
    rng = np.random.default_rng(seed)
    causes = rng.integers(0, 3, (n, 10))
    chance = 1 / (1 + np.exp(-(causes - 1.0).sum(axis=1) * 0.6))
    rows = pd.DataFrame(causes, columns=[f"c{i}" for i in range(10)]).astype(str)
    return rows.assign(bought=rng.random(n) < chance)


def test_a_target_hangs_on_all_columns_if_asked(tables_of, tmp_path):
    rows = additive(8_000)
    fitted(tables_of(rows), target="bought").save(tmp_path)
    synthetic = load_synthesizer(tmp_path).sample(20_000)["rows"].to_pandas()
    causes = [column for column in rows if column != "bought"]
    assert synthetic["bought"].mean() == pytest.approx(rows["bought"].mean(), abs=0.02)
    together = [frame[causes].astype(int).sum(axis=1).corr(frame["bought"].astype(int)) for frame in (synthetic, rows)]
    assert together[0] == pytest.approx(together[1], abs=0.03)
    singles = [frame[causes].astype(int).corrwith(frame["bought"].astype(int)) for frame in (synthetic, rows)]
    np.testing.assert_allclose(*singles, atol=0.04)


def test_a_target_bound_to_another_column_stays_bound(tables_of):
    rows = chain(3_000).assign(copy=lambda frame: frame["d"].map({True: "yes", False: "no"}))
    synthetic = drawn(fitted(tables_of(rows), target="d"))
    assert (synthetic["d"] == (synthetic["copy"] == "yes")).all()


def test_a_target_that_is_not_there_is_named(tables_of):
    with pytest.raises(ConfigurationError, match="'z'"):
        fitted(tables_of(chain(100)), target="z")


def test_adult_comes_back_in_pairs(shared: Path, tables_of):
    rows = pd.read_csv(shared / "data/flat/adult_train.csv.gz")
    tables = tables_of(rows)
    assert tables.schema.only_table.column("education").kind is Kind.CATEGORICAL
    synthetic = drawn(fitted(tables), len(rows))
    assert set(map(tuple, synthetic[["education", "education-num"]].to_numpy().tolist())) <= set(
        map(tuple, rows[["education", "education-num"]].to_numpy().tolist())
    )
    discrete = [column for column in rows if rows[column].dtype == object]
    distances = [tvd(synthetic[[a, b]], rows[[a, b]]) for i, a in enumerate(discrete) for b in discrete[:i]]
    assert np.mean(distances) < 0.03


@pytest.mark.parametrize("loops", ["compiled", "numpy"])
@pytest.mark.parametrize("structure", ["greedy", "chow_liu"])
def test_the_model_is_the_same_whoever_shares_the_work(tables_of, monkeypatch, structure, loops):
    """Cores share the search, and a target is learned beside it; neither may show in what is learned."""
    if loops == "numpy":
        for name in compiled.MODULES:
            monkeypatch.setattr(compiled, name, None)
    monkeypatch.setattr(search, "WORTH_SHARING", 0)
    monkeypatch.setattr(network, "CELLS_FOR_THREADS", 0)
    tables, models, before = tables_of(chain(3_000)), [], psutil.Process().children()
    for cores in (1, 3):
        for module in (search, network, synthesizer):
            monkeypatch.setattr(module, "n_cores", lambda cores=cores: cores)
        models.append(fitted(tables, structure=structure, target="a").network_)
    alone, together = models
    assert alone.to_json() == together.to_json()
    for name, array in alone.arrays().items():
        np.testing.assert_array_equal(array, together.arrays()[name])
    assert set(psutil.Process().children()) <= set(before)
