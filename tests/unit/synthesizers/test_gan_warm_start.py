"""A training that begins with an earlier model's weights: sooner good, the same each time, and blind to nothing new."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from upath import UPath

from hazy_pipeline.search_spaces import FURTHER, LEAST_FURTHER, further
from hazy_pipeline.synthesizers.base import StopFitting
from hazy_pipeline.synthesizers.gan import Gan
from hazy_pipeline.synthesizers.gan.warm_start import States, carried
from hazy_pipeline.synthesizers.gaussian_copula import GaussianCopula
from hazy_pipeline.tables import write_frames
from tests.conftest import schema_of

SMALL = {"width": 32, "latent_dim": 8, "depth": 2, "pac": 2, "batch_size": 100, "epochs": 40}
KINDS = {"day": "date"}


def visits(n: int, *, regions: str = "bcdf", days: int = 100, seed: int = 0) -> pd.DataFrame:
    """What is bought, and for how much, depends on the region; visits are spread evenly over so many days."""
    rng = np.random.default_rng(seed)
    region = rng.choice(list(regions), n)
    number = np.array([ord(each) - ord("a") for each in region])
    item = np.where(rng.random(n) < 0.85, number % 3, rng.integers(0, 3, n))
    price = 10.0 * number + 5 * item + rng.normal(0, 1, n)
    price[rng.random(n) < 0.1] = np.nan
    day = np.datetime64("2026-01-01") + rng.integers(0, days, n)
    return pd.DataFrame({"region": region, "item": np.array(["x", "y", "z"])[item], "price": price,
                         "day": pd.Series(day).dt.date})  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trained model's folder, not to be changed."""
    folder = tmp_path_factory.mktemp("trained")

    def write(frame, kinds):
        rows = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
        return write_frames(UPath(folder / str(len(frame))), schema_of(rows, kinds), {"rows": rows})

    fitted(rows_of(write, visits(1500))).save(folder / "model")
    return folder / "model"


@pytest.fixture
def earlier(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "earlier"))


def rows_of(tables_of, frame):
    """Training rows, and a third of them again to validate on."""
    return tables_of(frame, KINDS), tables_of(frame.sample(frac=1 / 3, random_state=1), KINDS)


def fitted(
    rows, start: Path | None = None, *, losses=None, checkpoints=None, stop_after=None, random_state=0, **changes
):
    gan = Gan(rows[0].schema, random_state=random_state, **(SMALL | changes))
    if start is not None:
        gan.start_from(start)

    def on_epoch(epoch, loss):
        if losses is not None:
            losses.append(loss)
        if epoch + 1 == stop_after:
            raise InterruptedError

    return gan.fit(rows[0], validation=rows[1], on_epoch=on_epoch, checkpoints=checkpoints)


def same(a: Gan, b: Gan) -> bool:
    return (a.weights_.keys() == b.weights_.keys()
            and all(torch.equal(a.weights_[name], b.weights_[name]) for name in a.weights_)
            and a.sample(2000, random_state=5)["rows"].equals(b.sample(2000, random_state=5)["rows"]))  # fmt: skip


def test_reaches_a_score_in_far_fewer_epochs_than_from_random_weights(tables_of, earlier):
    rows = rows_of(tables_of, visits(1600, days=104, seed=2))
    cold, warm = [], []
    fresh = fitted(rows, losses=cold)
    further_on = fitted(rows, earlier, losses=warm)
    assert (fresh.started_, further_on.started_) == (False, True)
    assert len(warm) == max(LEAST_FURTHER, round(FURTHER * SMALL["epochs"]))
    assert next((n for n, loss in enumerate(cold, 1) if loss <= warm[-1]), len(cold)) >= 2 * len(warm)
    assert warm[0] < min(cold[: len(warm)]), "one epoch does more than as many from random weights as there are"


def test_the_same_seed_rows_and_earlier_model_give_the_same_model(tables_of, earlier):
    rows = rows_of(tables_of, visits(800, seed=2))
    one = fitted(rows, earlier)
    assert same(one, fitted(rows, earlier))
    assert not same(one, fitted(rows, earlier, random_state=1))
    other = earlier.parent / "other"
    fitted(rows, random_state=3, epochs=5).save(other)
    assert not same(one, fitted(rows, other))


def test_a_training_that_was_killed_goes_on_as_if_nothing_had_been(tables_of, earlier, tmp_path):
    rows = rows_of(tables_of, visits(800, seed=2))
    with pytest.raises(InterruptedError):  # before the state of the third epoch is written
        fitted(rows, earlier, checkpoints=tmp_path / "state", stop_after=3)
    losses = []
    resumed = fitted(rows, earlier, checkpoints=tmp_path / "state", losses=losses)
    assert len(losses) == LEAST_FURTHER - 2
    assert same(resumed, fitted(rows, earlier))


def test_a_checkpoint_of_a_training_from_random_weights_is_another_trainings(tables_of, earlier, tmp_path):
    rows = rows_of(tables_of, visits(800, seed=2))
    with pytest.raises(InterruptedError):
        fitted(rows, checkpoints=tmp_path / "state", stop_after=2, epochs=LEAST_FURTHER)
    losses = []
    fitted(rows, earlier, checkpoints=tmp_path / "state", losses=losses, epochs=LEAST_FURTHER)
    assert len(losses) == LEAST_FURTHER


def test_new_categories_nulls_and_later_days_come_back(tables_of, earlier):
    """`a` sorts before all earlier regions, so that every state has another place; items may be missing now."""
    frame = visits(2000, regions="abcdf", days=150, seed=2)
    frame.loc[frame.index % 5 == 0, "item"] = None
    gan = fitted(rows_of(tables_of, frame), earlier)
    assert gan.started_
    made = gan.sample(20_000)["rows"].to_pandas()
    for column in ("region", "item"):
        expected, found = (rows[column].value_counts(normalize=True, dropna=False) for rows in (frame, made))
        assert (expected - found.reindex(expected.index).fillna(0)).abs().max() < 0.05, column
    assert made["day"].max() == pd.Series(frame["day"]).max()
    assert (pd.to_datetime(made["day"]) > "2026-04-10").mean() == pytest.approx(1 / 3, abs=0.05)
    assert made.loc[made["region"] == "a", "price"].mean() < made.loc[made["region"] == "f", "price"].mean() - 20


def test_each_state_keeps_its_weights_wherever_it_stands_now(tables_of, earlier):
    before = Gan.load(earlier)
    rows = rows_of(tables_of, visits(2000, regions="abdfg", seed=2))
    now = fitted(rows, epochs=1)
    known, new = (States.read(gan.encoder_, gan.transform_) for gan in (before, now))
    assert new.of["region"] == tuple(("value", letter) for letter in "abdfg")
    states, _ = now.transform_.encode(now._encoded(rows[0], 10_000), np.random.default_rng(0))
    start = carried(known, before.weights_, new, states)
    assert {name: value.shape for name, value in start.items()} == {n: v.shape for n, v in now.weights_.items()}
    for letter in "bdf":
        row, was = new.cells()["region"] + "abdfg".index(letter), known.cells()["region"] + "bcdf".index(letter)
        at, at_first = (states.conditions()["region"] for states in (new, known))
        inputs = SMALL["latent_dim"] + at + "abdfg".index(letter), SMALL["latent_dim"] + at_first + "bcdf".index(letter)
        assert torch.equal(start["head.bias"][row], before.weights_["head.bias"][was])
        assert torch.equal(start["head.weight"][row, :8], before.weights_["head.weight"][was, :8])
        for layer in ("layers.0.linear.weight", "layers.1.linear.weight"):
            assert torch.equal(start[layer][:, inputs[0]], before.weights_[layer][:, inputs[1]])


def test_unchanged_rows_carry_every_weight(tables_of, earlier):
    rows = rows_of(tables_of, visits(1500))
    before = Gan.load(earlier)
    states = States.read(before.encoder_, before.transform_)
    encoded, _ = before.transform_.encode(before._encoded(rows[0], 10_000), np.random.default_rng(0))
    start = carried(states, before.weights_, states, encoded)
    assert all(torch.equal(start[name], value) for name, value in before.weights_.items())


def damage_weights(folder: Path) -> None:
    (folder / "generator.safetensors").write_bytes(b"no weights")


def damage_state(folder: Path) -> None:
    model = json.loads((folder / "model.json").read_text())
    model["state"]["transform"]["continuous"][0].pop("shares")
    (folder / "model.json").write_text(json.dumps(model))


def newer_format(folder: Path) -> None:
    model = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**model, "format_version": 99}))


def no_folder(folder: Path) -> None:
    folder.rename(folder.parent / "elsewhere")


@pytest.mark.parametrize("harm", [damage_weights, damage_state, newer_format, no_folder])
def test_a_damaged_folder_is_no_error_but_a_line_in_the_log(tables_of, earlier, harm, caplog):
    harm(earlier)
    falls_back(rows_of(tables_of, visits(600, seed=2)), earlier, "an earlier model cannot be read", caplog)


def test_another_familys_model_or_an_older_format_is_not_started_from(tables_of, tmp_path, repository, caplog):
    rows = rows_of(tables_of, visits(600, seed=2))
    GaussianCopula(rows[0].schema).fit(rows[0], validation=rows[1]).save(tmp_path / "copula")
    falls_back(rows, tmp_path / "copula", "holds a gaussian_copula, not a gan", caplog)
    falls_back(rows, repository / "tests" / "models_of_format_1" / "gan", "is of an older format", caplog)


@pytest.mark.parametrize(
    ("frame", "changes", "why"),
    [
        (visits(600), {"width": 16}, "its layers are of other sizes"),
        (visits(600), {"latent_dim": 16}, "its layers are of other sizes"),
        (visits(600), {"n_modes": 2}, "in 4 modes, not in 2"),
        (visits(600, regions="fghijk"), {}, "of the rows have values of 'region' that it does not know"),
        (visits(600).rename(columns={"item": "thing"}), {}, "do not have the column 'thing'"),
    ],
)
def test_a_model_that_is_too_different_is_not_started_from(tables_of, earlier, frame, changes, why, caplog):
    falls_back(rows_of(tables_of, frame), earlier, why, caplog, **changes)


def falls_back(rows, start, why, caplog, **changes):
    """The training is the one from random weights, and the log says why."""
    with caplog.at_level(logging.INFO):
        gan = fitted(rows, start, **({"epochs": 2} | changes))
    assert not gan.started_
    assert "the training starts from random weights" in caplog.text
    assert why in caplog.text
    assert same(gan, fitted(rows, **({"epochs": 2} | changes)))


def test_few_epochs_are_left_as_they_are():
    assert further({"epochs": 3, "pac": 2}) == {"epochs": 3, "pac": 2}
    assert further({"epochs": 20})["epochs"] == LEAST_FURTHER
    assert further({"epochs": 300})["epochs"] == 30


def test_it_can_be_ended_at_any_epoch(tables_of, earlier):
    rows = rows_of(tables_of, visits(600, seed=2))

    def stop(epoch, loss):
        raise StopFitting

    gan = Gan(rows[0].schema, **SMALL)
    gan.start_from(earlier)
    gan.fit(rows[0], validation=rows[1], on_epoch=stop)
    assert gan.started_
    assert gan.sample(10)["rows"].num_rows == 10
