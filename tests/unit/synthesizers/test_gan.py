"""The GAN as a synthesizer: it learns, is the same for the same seed, goes on after a kill, and leaves nothing behind."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from hazy_pipeline.errors import ConfigurationError, DataError, ModelError
from hazy_pipeline.synthesizers import synthesizer_class
from hazy_pipeline.synthesizers.base import StopFitting, load_synthesizer
from hazy_pipeline.synthesizers.gan import Gan, fitting
from hazy_pipeline.synthesizers.gan.fitting import NOISE
from hazy_pipeline.synthesizers.gan.training import GanTraining, Settings

SMALL = {"width": 32, "latent_dim": 8, "depth": 1, "pac": 2, "batch_size": 100, "epochs": 4}


def pairs(n: int, seed: int = 0) -> pd.DataFrame:
    """`kind` decides where `x` lies and, three times in four, what `answer` is; a fifth of `x` is null."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2])
    x = np.select([kind == "a", kind == "b"], [0.0, 10.0], 30.0) + rng.normal(0, 1, n)
    x[rng.random(n) < 0.2] = np.nan
    right = np.where(kind == "a", "yes", "no")
    answer = np.where(rng.random(n) < 0.75, right, np.where(right == "yes", "no", "yes"))
    return pd.DataFrame({"kind": kind, "x": x, "answer": answer, "n": rng.integers(0, 100, n)})


@pytest.fixture
def rows(tables_of):
    return tables_of(pairs(600)), tables_of(pairs(200, seed=1))


def fitted(rows, *, on_epoch=lambda epoch, loss: None, checkpoints=None, random_state=0, **hyperparameters):
    gan = Gan(rows[0].schema, random_state=random_state, **(SMALL | hyperparameters))
    return gan.fit(rows[0], validation=rows[1], on_epoch=on_epoch, checkpoints=checkpoints)


def same_weights(a: Gan, b: Gan) -> bool:
    return a.weights_.keys() == b.weights_.keys() and all(torch.equal(a.weights_[k], b.weights_[k]) for k in a.weights_)


def latest_of_the_best(losses):
    """The last score that is above the lowest so far by no more than chance."""
    lowest = np.minimum.accumulate(losses)
    return [loss for loss, low in zip(losses, lowest, strict=True) if loss <= (1 + NOISE) * low][-1]


def test_learns_marginals_nulls_and_a_known_dependence(tables_of):
    train, validation = tables_of(pairs(5000)), tables_of(pairs(1000, seed=1))
    losses = []
    gan = Gan(train.schema, epochs=12, batch_size=200, width=64, latent_dim=32, pac=10)
    gan.fit(train, validation=validation, on_epoch=lambda epoch, loss: losses.append(loss))
    made = gan.sample(10_000, random_state=1)["rows"].to_pandas()
    shares = made["kind"].value_counts(normalize=True)
    assert [shares[kind] for kind in "abc"] == pytest.approx([0.5, 0.3, 0.2], abs=0.05)
    assert made["x"].isna().mean() == pytest.approx(0.2, abs=0.06)
    means = made.groupby("kind")["x"].median()
    assert [means[kind] for kind in "abc"] == pytest.approx([0, 10, 30], abs=2)
    agreement = ((made["kind"] == "a") == (made["answer"] == "yes")).mean()
    assert agreement == pytest.approx(0.75, abs=0.06)  # independent columns would give 0.5
    assert min(losses) < 0.8 * losses[0]
    assert gan.loss_ == latest_of_the_best(losses)


def test_types_and_ranges_come_back(rows):
    made = fitted(rows).sample(500)["rows"]
    source = rows[0].read("rows")
    assert made.schema == source.schema
    assert made["n"].null_count == 0
    assert set(made["kind"].to_pylist()) <= {"a", "b", "c"}
    assert min(made["n"].to_pylist()) >= 0
    assert max(made["n"].to_pylist()) <= 99


def test_same_seed_same_rows_and_another_seed_others(rows):
    first, second, other = fitted(rows), fitted(rows), fitted(rows, random_state=1)
    assert same_weights(first, second)
    assert not same_weights(first, other)
    assert first.sample(300, random_state=5)["rows"].equals(second.sample(300, random_state=5)["rows"])
    assert not first.sample(300, random_state=5)["rows"].equals(first.sample(300, random_state=6)["rows"])


def test_fitting_and_sampling_leave_the_callers_random_numbers_and_threads_alone(rows):
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = random.random(), np.random.random(), torch.rand(1).item()
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    threads = torch.get_num_threads()
    fitted(rows).sample(100)
    assert (random.random(), np.random.random(), torch.rand(1).item()) == expected
    assert torch.get_num_threads() == threads


def test_a_saved_model_gives_the_same_rows_in_a_fresh_process(rows, tmp_path):
    gan = fitted(rows)
    gan.save(tmp_path / "model")
    expected = gan.sample(200, random_state=3)["rows"]
    script = (
        "import sys; from pathlib import Path\n"
        "from hazy_pipeline.synthesizers.base import load_synthesizer\n"
        "import pyarrow.parquet as pq\n"
        "pq.write_table(load_synthesizer(Path(sys.argv[1])).sample(200, random_state=3)['rows'], sys.argv[2])\n"
    )
    made = tmp_path / "made.parquet"
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "model"), str(made)], check=True, timeout=120)
    import pyarrow.parquet as pq

    assert pq.read_table(made).to_pydict() == expected.to_pydict()


def test_a_damaged_model_is_refused(rows, tmp_path):
    fitted(rows).save(tmp_path)
    (tmp_path / "generator.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match=r"generator\.safetensors"):
        load_synthesizer(tmp_path)
    (tmp_path / "generator.safetensors").unlink()
    with pytest.raises(ModelError, match=r"generator\.safetensors"):
        load_synthesizer(tmp_path)


class Killed(Exception):
    """What a pruner, or a kill, may raise out of `on_epoch`."""


def test_a_resumed_training_equals_an_uninterrupted_one(rows, tmp_path):
    options = {"epochs": 10}
    whole_losses, losses = [], []
    whole = fitted(rows, on_epoch=lambda epoch, loss: whole_losses.append((epoch, loss)), **options)

    def until_seven(epoch, loss):
        losses.append((epoch, loss))
        if epoch == 7:
            raise Killed

    with pytest.raises(Killed):
        fitted(rows, on_epoch=until_seven, checkpoints=tmp_path, **options)
    del losses[-1]  # the epoch of the kill was not kept
    resumed = fitted(rows, on_epoch=lambda e, loss: losses.append((e, loss)), checkpoints=tmp_path, **options)
    assert losses == whole_losses
    assert same_weights(resumed, whole)
    calls = []
    again = fitted(rows, on_epoch=lambda epoch, loss: calls.append(epoch), checkpoints=tmp_path, **options)
    assert calls == []
    assert same_weights(again, whole)


def test_a_checkpoint_of_another_training_is_not_taken(rows, tmp_path):
    fitted(rows, checkpoints=tmp_path, learning_rate=5e-3)
    epochs = []
    other = fitted(rows, checkpoints=tmp_path, on_epoch=lambda epoch, loss: epochs.append(epoch))
    assert epochs == [0, 1, 2, 3]
    assert same_weights(other, fitted(rows))


def test_from_a_damaged_checkpoint_the_training_starts_from_the_beginning(rows, tmp_path, caplog):
    (tmp_path / "gan.safetensors").write_bytes(b"nonsense")
    epochs = []
    again = fitted(rows, checkpoints=tmp_path, on_epoch=lambda epoch, loss: epochs.append(epoch))
    assert "damaged checkpoint" in caplog.text
    assert epochs == [0, 1, 2, 3]
    assert same_weights(again, fitted(rows))


def test_stop_fitting_keeps_the_best_weights_so_far(rows):
    losses = []

    def stop_at_third(epoch, loss):
        losses.append(loss)
        if epoch == 2:
            raise StopFitting

    gan = fitted(rows, on_epoch=stop_at_third, epochs=50)
    assert len(losses) == 3
    assert gan.loss_ == latest_of_the_best(losses)
    assert gan.sample(10)["rows"].num_rows == 10


def test_of_weights_that_the_score_cannot_tell_apart_the_latest_are_kept(rows, monkeypatch):
    losses = []
    monkeypatch.setattr(fitting, "NOISE", 1e6)
    latest = fitted(rows, on_epoch=lambda epoch, loss: losses.append(loss))
    assert latest.loss_ == losses[-1]
    monkeypatch.setattr(fitting, "NOISE", 0.0)
    assert fitted(rows).loss_ == min(losses)


def test_what_a_pruner_raises_comes_through(rows):
    def prune(epoch, loss):
        raise Killed

    with pytest.raises(Killed):
        fitted(rows, on_epoch=prune)


def test_epochs_are_reported_in_order_with_losses(rows):
    seen = []
    fitted(rows, on_epoch=lambda epoch, loss: seen.append((epoch, loss)))
    assert [epoch for epoch, _ in seen] == [0, 1, 2, 3]
    assert all(0 <= loss <= 1 for _, loss in seen)


def test_nothing_is_printed_or_left_behind_and_no_pickle_is_written(rows, tmp_path, monkeypatch, capfd):
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    gan = fitted(rows, checkpoints=tmp_path / "checkpoints")
    gan.save(tmp_path / "model")
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
    assert list(folder.iterdir()) == []
    files = [f for part in ("model", "checkpoints") for f in (tmp_path / part).rglob("*") if f.is_file()]
    assert {f.name for f in files} == {"model.json", "generator.safetensors", "gan.safetensors"}
    for file in files:
        assert not _is_pickle_or_zip(file), file


def _is_pickle_or_zip(file: Path) -> bool:
    """torch's own format is a zip of pickles; a bare pickle of protocol 2 to 5 begins with 0x80 and the protocol."""
    head = file.read_bytes()[:4]
    return head[:2] == b"PK" or (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05")


def test_many_categories_stay_within_max_categories_in_every_tensor(tables_of):
    n = 200_000
    rng = np.random.default_rng(0)
    names = np.concatenate([np.arange(100_000), rng.integers(0, 50, n - 100_000)])
    table = pa.table({"name": pa.array(names).cast(pa.string()), "flag": rng.random(n) < 0.5})
    train = tables_of(table, {"name": "categorical"})
    gan = Gan(train.schema, min_rows=1, **(SMALL | {"epochs": 1, "batch_size": 5000, "max_categories": 100}))
    gan.fit(train, validation=train)
    assert gan.encoder_.discrete[0].n_codes == 100_000
    assert gan.transform_.sizes == (100, 2)
    assert max(max(tensor.shape, default=0) for tensor in gan.weights_.values()) < 250
    made = gan.sample(5000)["rows"]["name"].to_pylist()
    assert len(set(made)) > 1000, "grouped categories must come back as themselves"


def test_the_training_matrix_is_codes_not_one_hot_cells():
    states = np.zeros((1000, 1), dtype=np.int32)
    settings = Settings(epochs=1, batch_size=100, learning_rate=1e-3, latent_dim=4, width=8, depth=1, pac=1)
    from hazy_pipeline.synthesizers.gan.layout import Layout

    module = GanTraining(
        Layout((), (2000,), 1), states, np.zeros((1000, 0), dtype=np.float32), settings, random_state=0
    )
    module.on_fit_start()
    held = [module.states, module.places, module.conditions.order, module.conditions.counts]
    assert sum(tensor.numel() for tensor in held) <= 1000 * 2 + 2000


@pytest.mark.parametrize("n", [1, 2, 7])
def test_few_rows(tables_of, n):
    train = tables_of(pairs(n))
    gan = Gan(train.schema, **SMALL).fit(train, validation=train)
    assert gan.sample(20)["rows"].schema == train.read("rows").schema


def test_no_rows_are_refused(tables_of):
    empty = tables_of(pairs(5).iloc[:0], {"kind": "categorical", "answer": "categorical"})
    with pytest.raises(DataError):
        Gan(empty.schema, **SMALL).fit(empty, validation=empty)


def test_all_null_and_constant_columns_come_back_as_they_are(tables_of):
    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "null": pa.nulls(300, pa.float64()),
            "same": pa.array([5.5] * 300),
            "one": pa.array(["only"] * 300),
            "x": pa.array(rng.normal(size=300)),
        }
    )
    train = tables_of(table)
    made = Gan(train.schema, **SMALL).fit(train, validation=train).sample(50)["rows"]
    assert made["null"].null_count == 50
    assert set(made["same"].to_pylist()) == {5.5}
    assert set(made["one"].to_pylist()) == {"only"}


def test_columns_that_are_not_modelled_need_no_training(tables_of):
    table = pa.table({"id": pa.array(range(100)), "same": pa.array(["a"] * 100)})
    train = tables_of(table, {"id": "identifier", "same": "constant"})
    epochs = []
    gan = Gan(train.schema, **SMALL).fit(train, validation=train, on_epoch=lambda e, loss: epochs.append(e))
    assert epochs == []
    assert gan.sample(10)["rows"]["same"].to_pylist() == ["a"] * 10


def test_only_continuous_columns(tables_of):
    rng = np.random.default_rng(0)
    x = rng.normal(size=500)
    train = tables_of(pd.DataFrame({"x": x, "y": x + rng.normal(0, 0.1, 500)}))
    made = Gan(train.schema, **SMALL).fit(train, validation=train).sample(100)["rows"]
    assert made.num_rows == 100


def test_an_empty_block_has_the_schema(rows):
    made = fitted(rows).sample(0)["rows"]
    assert made.num_rows == 0
    assert made.schema == rows[0].read("rows").schema


def test_rows_do_not_depend_on_batches_or_shards(rows):
    gan = fitted(rows, epochs=1)
    n = 150_000
    whole = gan.sample(n, random_state=2)["rows"]
    sharded = [b for i in range(3) for b in gan.sample_batches(n, batch_rows=10_000, random_state=2, shard=(i, 3))]
    assert pa.Table.from_batches(sharded).combine_chunks().equals(whole.combine_chunks())


def test_the_target_is_redrawn_from_all_other_columns(tables_of, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 3))
    answer = rng.random(4000) < 1 / (1 + np.exp(-3 * x.sum(axis=1)))
    frame = pd.DataFrame({**{f"x{i}": x[:, i] for i in range(3)}, "answer": np.where(answer, "yes", "no")})
    train = tables_of(frame)
    options = SMALL | {"epochs": 1}
    gan = Gan(train.schema, target="answer", **options).fit(train, validation=train)
    plain = Gan(train.schema, **options).fit(train, validation=train)
    of_rows = [made.sample(5000)["rows"].to_pandas() for made in (gan, plain)]
    shares = [rows[rows[["x0", "x1", "x2"]].sum(axis=1) > 1.5]["answer"].eq("yes").mean() for rows in of_rows]
    assert shares[0] > 0.75
    assert shares[1] < 0.65, "one epoch teaches the networks little"
    gan.save(tmp_path)
    assert load_synthesizer(tmp_path).sample(5000)["rows"].to_pandas().equals(of_rows[0])
    (tmp_path / "target.npz").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match=r"target\.npz"):
        load_synthesizer(tmp_path)


def test_a_target_that_cannot_be_redrawn_is_left_to_the_networks_and_an_unknown_one_refused(rows):
    gan = Gan(rows[0].schema, target="x", **SMALL).fit(rows[0], validation=rows[1])
    assert gan.target_ is None
    with pytest.raises(ConfigurationError, match="nowhere"):
        Gan(rows[0].schema, target="nowhere", **SMALL).fit(rows[0], validation=rows[1])


def test_is_registered_and_prefers_a_gpu():
    assert synthesizer_class("gan") is Gan
    assert Gan.accelerator == "gpu"


def test_model_json_is_plain(rows, tmp_path):
    fitted(rows).save(tmp_path)
    assert json.loads((tmp_path / "model.json").read_text())["synthesizer"] == "gan"
