"""The benchmarks' own arithmetic: splits, taking turns, resuming, targets. What they measure is not tested here."""

import gzip
import json
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from benchmarks import __main__ as command_line
from benchmarks import environments, later_runs, quality, scaling
from benchmarks.ours import Ours
from benchmarks.peers import protocol
from benchmarks.report import methods_table, report, targets_table
from benchmarks.results import Results
from benchmarks.tables import DATASETS, Missing, first_half, profiled, published, random_half
from benchmarks.targets import TARGETS, over_seeds, ratio


def numbered(n_rows: int) -> pa.Table:
    return pa.table({"number": pa.array(range(n_rows))})


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [12, 13])
@pytest.mark.parametrize("halves", [first_half, random_half])
def test_halves_are_the_whole_and_share_no_row(halves, n_rows: int) -> None:
    train, holdout = (half["number"].to_pylist() for half in halves([numbered(n_rows)]))
    assert len(train) == n_rows // 2
    assert sorted(train + holdout) == list(range(n_rows))
    assert train == sorted(train), "stored order is kept"


def test_the_random_half_is_always_the_same_and_is_not_the_first() -> None:
    one, other = (random_half([numbered(1000)])[0]["number"].to_pylist() for _ in range(2))
    assert one == other != list(range(500))


def test_a_published_split_is_taken_as_it_is() -> None:
    assert published([numbered(3), numbered(4)]) == (numbered(3), numbered(4))


def test_a_missing_file_is_named_and_so_is_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(Missing, match=r"adult_train.csv.gz is needed.*--data or HAZY_BENCH_DATA"):
        DATASETS["adult"].load(None)
    with pytest.raises(Missing, match=r"online_shoppers.csv.gz does not exist.*--data"):
        DATASETS["online_shoppers"].load(tmp_path)


def test_tables_are_read_as_the_pipeline_reads_them(tmp_path: Path) -> None:
    rows = "".join(f"{i % 2},{i},{'a' if i % 3 else ''},{i / 8}\n" for i in range(10))
    (tmp_path / "titanic.csv").write_text(f"survived,age,deck,fare\n{rows}")
    train, holdout = DATASETS["titanic"].load(tmp_path)
    assert train.num_rows == holdout.num_rows == 5
    assert {str(field.type) for field in train.schema} == {"int64", "string", "double"}


# --- processes --------------------------------------------------------------------------------------------------------


class Shifted:
    """Gives the training rows back in another type, as peers do."""

    packages = ("numpy",)

    def prepare(self, rows: pa.Table, job: protocol.Job) -> None:
        self.rows, self.calls = rows.to_pandas(), 0

    def fit(self) -> None: ...

    def sample(self, n_rows: int):
        self.calls += 1
        return self.rows.sample(n_rows, replace=True, random_state=0)

    def decode(self, sampled):
        return sampled.assign(whole=sampled["whole"] + 0.4)

    def more(self) -> dict[str, object]:
        return {"calls": self.calls}


def test_a_process_writes_rows_of_the_training_rows_types_and_its_seconds(tmp_path: Path) -> None:
    rows = pa.table({"whole": pa.array([1, None, 3]), "text": ["a", None, "c"], "flag": [True, False, True]})
    pq.write_table(rows, tmp_path / "train.parquet")
    words = [str(tmp_path / "train.parquet"), str(tmp_path / "out"), "--target", "flag", "--rows", "50"]
    protocol.run(Shifted(), [*words, "--large-rows", "70"])
    made = pq.read_table(tmp_path / "out" / "synthetic.parquet")
    assert made.schema.equals(rows.schema)
    assert made.num_rows == 50
    assert set(made["whole"].to_pylist()) == {1, None, 3}
    assert set(made["text"].to_pylist()) == {"a", None, "c"}
    figures = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert figures["calls"] == protocol.REPEATS + 1, "some short samples and the large one"
    assert figures["rows"] == 50
    assert figures["large_rows"] == 70
    assert figures["versions"] == {"numpy": np.__version__}
    assert all(figures[what][unit] >= 0 for what in ("fit", "sample", "sample_large") for unit in ("wall", "cpu"))


def test_our_families_go_through_the_same_process(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = pa.table({"amount": rng.normal(size=300).round(2), "kind": rng.choice(["a", "b"], 300)})
    pq.write_table(rows, tmp_path / "train.parquet")
    words = [str(tmp_path / "train.parquet"), str(tmp_path / "out"), "--target", "kind", "--rows", "400"]
    protocol.run(Ours("gaussian_copula"), words)
    made = pq.read_table(tmp_path / "out" / "synthetic.parquet")
    assert made.schema.equals(rows.schema)
    assert made.num_rows == 400
    assert "sample_large" not in json.loads((tmp_path / "out" / "figures.json").read_text())


def test_epochs_begin_until_the_time_is_up() -> None:
    times = iter([1.0, 2.0, 3.0, 4.0])
    assert list(protocol.until(range(10**9), 3.0, lambda: next(times))) == [0, 1, 2]
    assert list(protocol.until(range(10**9), 0.0)) == [0], "one epoch at least"
    assert list(protocol.until(range(4), float("inf"))) == [0, 1, 2, 3]


def test_categories_are_text_truth_values_and_few_whole_numbers() -> None:
    rows = pa.table({"text": ["a", "b"] * 20, "flag": [True, False] * 20, "few": [0, 1] * 20, "many": range(40),
                     "halves": [0.5, 1.5] * 20})  # fmt: skip
    assert protocol.categorical_columns(rows.to_pandas()) == ["text", "flag", "few"]


def test_peers_run_in_their_own_environment_and_ours_in_this_one(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(environments, "python_of", lambda name: tmp_path / name / "bin" / "python")
    script = Path(quality.__file__).parent / "peers" / "run_ctgan.py"
    assert quality.command("ctgan", Path("t"), Path("o"), ["--rows", "5"]) == [
        str(tmp_path / "sdv/bin/python"), str(script), "t", "o", "--rows", "5",
    ]  # fmt: skip
    assert quality.command("gan", Path("t"), Path("o"), [])[:4] == [sys.executable, "-m", "benchmarks.ours", "gan"]


def test_every_peer_has_a_script_and_requirements_with_torch_first_where_it_is_needed() -> None:
    for name in quality.PEERS:
        assert (quality.PEERS_FOLDER / f"run_{name}.py").is_file()
        requirements = environments.REQUIREMENTS / f"{quality.METHODS[name].environment}.txt"
        assert requirements.read_text().startswith("torch==")


def test_an_environment_that_holds_what_is_asked_for_is_used_as_it_is(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HAZY_BENCH_ENVS", str(tmp_path))
    monkeypatch.setattr(environments, "REQUIREMENTS", tmp_path)
    python = tmp_path / "mine" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (tmp_path / "mine.txt").write_text("numpy>=1\npyarrow==25\n")
    assert environments.python_of("mine") == python
    (tmp_path / "mine.txt").write_text("numpy>=1\nno-such-package==1\n")
    assert not environments._is_complete(python, "mine")


def test_both_sides_have_as_many_threads_and_neither_sees_our_packages(monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    given = environments.variables(2)
    assert given["OMP_NUM_THREADS"] == given["MKL_NUM_THREADS"] == "2"
    assert "PYTHONPATH" not in given


# --- turns and time ---------------------------------------------------------------------------------------------------


def test_families_and_peers_take_turns() -> None:
    chosen = quality.chosen(",".join(quality.FAMILIES), "sdv,pgmpy")
    assert chosen == ["bayesian_network", "bayesian_network:proposals=3", "pgmpy", "gaussian_copula", "sdv", "gan"]
    assert list(quality.turns(["bayesian_network", "pgmpy"], 2)) == [
        (0, "bayesian_network"), (0, "pgmpy"), (1, "bayesian_network"), (1, "pgmpy"),
    ]  # fmt: skip
    assert quality.chosen("gan,bayesian_network", "") == ["bayesian_network", "gan"]
    with pytest.raises(Missing, match="'gan' is no peer; there are pgmpy, sdv, ctgan, mostlyai"):
        quality.chosen("", "gan")


def test_ctgan_trains_for_as_long_as_our_gan_did_with_the_same_seed(tmp_path: Path) -> None:
    results = Results(tmp_path / "r.json")
    results.measure("quality/adult/gan/1", lambda: {"fit": {"wall": 71.5}})
    assert quality.seconds_of("ctgan", "quality/adult/ctgan/1", results, None) == 71.5
    with pytest.raises(RuntimeError, match="for as long as gan did, which has no result"):
        quality.seconds_of("ctgan", "quality/adult/ctgan/0", results, None)
    assert quality.seconds_of("mostlyai", "quality/adult/mostlyai/0", results, None) == 120
    assert quality.seconds_of("mostlyai", "quality/adult/mostlyai/0", results, 5) == 5
    assert quality.seconds_of("gan", "quality/adult/gan/0", results, None) is None


def test_the_expected_time_counts_data_sets_seeds_and_peers() -> None:
    def expected(*words: str) -> float:
        return quality.expected_seconds(command_line._parse(["quality", *words]))

    assert expected("--seeds", "1", "--datasets", "adult") < expected("--seeds", "3", "--datasets", "adult") / 2
    assert expected("--peers", "") < expected("--peers", "sdv") < expected()


def test_an_unknown_part_is_refused(capsys) -> None:
    with pytest.raises(SystemExit):
        command_line._parse(["speed"])
    assert "'speed' is no part; there are quality, scaling, generation, gpu" in capsys.readouterr().err


# --- results ----------------------------------------------------------------------------------------------------------


def test_what_was_measured_for_this_code_is_not_measured_again(tmp_path: Path, monkeypatch) -> None:
    path, calls = tmp_path / "results.json", iter(range(10))

    def measure(**options: bool) -> int:
        return Results(path, **options).measure("a/b", lambda: {"figure": next(calls)})["figure"]

    monkeypatch.setattr("benchmarks.results.code_identity", lambda: "one")
    assert [measure(), measure(), measure(again=True), measure()] == [0, 0, 1, 1]
    monkeypatch.setattr("benchmarks.results.code_identity", lambda: "two")
    assert [measure(), measure()] == [2, 2]
    item = json.loads(path.read_text())["items"]["a/b"]
    assert item["code"] == "two"
    assert item["machine"]["cores"] >= 1


def test_a_failure_is_kept_and_tried_again(tmp_path: Path) -> None:
    def fail() -> dict[str, object]:
        raise RuntimeError("no such wheel")

    path = tmp_path / "results.json"
    assert Results(path).measure("quality/adult/sdv/0", fail)["error"] == "no such wheel"
    assert "- quality/adult/sdv/0: no such wheel" in report(Results(path).items)
    assert Results(path).measure("quality/adult/sdv/0", lambda: {"figure": 1})["figure"] == 1


# --- targets and tables -----------------------------------------------------------------------------------------------


def seconds(value: float) -> dict[str, float]:
    return {"wall": value, "cpu": value}


def measured(unseen: float, fit: float) -> dict[str, object]:
    scores = {"unseen_auc": unseen, "acc_bi": 0.9, "mle": 0.8, "dcr_share": 0.5}
    return {"scores": scores, "fit": seconds(fit), "sample": seconds(0.1)}


def test_ratios_are_taken_by_seed_and_then_their_median() -> None:
    seeds = {str(i): {"bayesian_network": measured(0.6, ours), "pgmpy": measured(0.8, peers)}
             for i, (ours, peers) in enumerate([(1, 10), (3, 10), (20, 100)])}  # fmt: skip
    assert over_seeds(ratio("bayesian_network", "pgmpy", "fit"), seeds) == pytest.approx(0.2)
    assert over_seeds(ratio("bayesian_network", "sdv", "fit"), seeds) is None


def test_targets_stand_beside_figures_and_what_is_missed_is_said() -> None:
    quality_items = {"adult": {"0": {"bayesian_network": measured(0.59, 2), "pgmpy": measured(0.8, 4)}}}
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in targets_table(quality_items).splitlines()}
    assert "| 0.590 (≤ 0.63) | – (≤ 0.66) | – (≤ 0.8) |" in lines["Bayesian network: unseen"]
    assert "| **0.900** (≥ 0.98) missed |" in lines["Bayesian network: pairs"]
    assert "| **0.500** (≤ 0.333) missed |" in lines["Bayesian network: fit / pgmpy's"]
    assert len(lines) == len(TARGETS) + 2


def test_the_table_of_methods_has_a_line_for_each_that_was_measured() -> None:
    quality_items = {"titanic": {"0": {"gan": {**measured(0.7, 30), "large_rows": 1000, "sample_large": seconds(0.5)}},
                                 "1": {"gan": measured(0.9, 10)}}}  # fmt: skip
    last = methods_table(quality_items).splitlines()[-1]
    assert last == "| Titanic | GAN | 0.800 | 0.900 | 0.800 | 0.500 | 20.000 | 20.000 | 0.100 | 2,000 | 2 |"


def test_every_target_can_be_judged_from_what_is_measured() -> None:
    everything = {**measured(0.6, 2), "sample_large": seconds(1), "fit_codes": seconds(1), "fit_labels": seconds(1),
                  "fit_chow_liu": seconds(1)}  # fmt: skip
    items = dict.fromkeys(quality.METHODS, everything)
    assert all(over_seeds(target.figure, {"0": items}) is not None for target in TARGETS)


# --- scaling ----------------------------------------------------------------------------------------------------------


def test_resampled_rows_are_rows_of_the_table(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(scaling, "BATCH", 40)
    base = profiled(
        pa.table({"number": [i / 2 for i in range(50)], "text": [f"t{i % 5}" for i in range(50)]}),
        UPath(tmp_path / "base"),
    )
    scaling.resample(base, 100, into=UPath(tmp_path / "more"), seed=3)
    scaling.resample(base, 100, into=UPath(tmp_path / "same"), seed=3)
    made, same = (scaling.Tables(UPath(tmp_path / name)) for name in ("more", "same"))
    rows = made.read("rows")
    assert rows.num_rows == 100
    assert made.schema == base.schema
    assert rows.equals(same.read("rows"))
    assert set(zip(*rows.to_pydict().values(), strict=True)) <= set(
        zip(*base.read("rows").to_pydict().values(), strict=True)
    )


def test_the_plot_tells_the_line_through_the_seconds(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.json")
    for family in scaling.FAMILIES:
        for size in (1, 2):
            key = f"scaling/{family}/{size}000000"
            results.measure(key, lambda size=size: {"fit": seconds(1 + 3 * size), "peak_mb": 500.0})
    scaling.plot(results, tmp_path / "scaling.svg")
    assert "<svg" in (tmp_path / "scaling.svg").read_text()
    assert "| Bayesian network | 2,000,000 | 7.0 | 7.0 | 3.50 | 500 |" in report(results.items)


# --- later runs -------------------------------------------------------------------------------------------------------


def test_feeds_grow_or_move_on_from_stage_to_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "feed").mkdir()
    days = "".join(f"{i},01/{1 + i % 12:02}/11\n" for i in range(24))
    (tmp_path / "feed" / "bike_sharing_hour.csv.gz").write_bytes(gzip.compress(f"instant,dteday\n{days}".encode()))
    grown = list(later_runs.bikes(tmp_path))
    assert [label for label, _ in grown] == [f"2011-{month:02}" for month in range(6, 13)]
    assert [len(rows) for _, rows in grown] == [12, 14, 16, 18, 20, 22, 24]

    moments = pa.array([datetime(2010, month, 5) for month in (1, 2, 3) for _ in range(4)], pa.timestamp("us"))
    pq.write_table(pa.table({"InvoiceDate": moments, "n": range(12)}), tmp_path / "online_retail_2009_2011.parquet")
    monkeypatch.setattr(later_runs, "MOST_RETAIL", 6)
    assert [list(rows["n"]) for _, rows in later_runs.retail(tmp_path)] == [[*range(2, 8)], [*range(6, 12)]]

    people = "".join(f"{i}\n" for i in range(10))
    (tmp_path / "adult_train.csv.gz").write_bytes(gzip.compress(f"age\n{people}".encode()))
    monkeypatch.setattr(later_runs, "FIRST_ADULT", 6)
    monkeypatch.setattr(later_runs, "MORE_ADULT", 2)
    first, second = (list(rows["age"]) for _, rows in later_runs.adult(tmp_path))
    assert second[:6] == first
    assert len(second) == 8

    with pytest.raises(Missing, match="HAZY_BENCH_DATA"):
        next(later_runs.adult(None))
