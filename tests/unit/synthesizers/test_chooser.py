"""A copula and a GAN that propose several rows for each that they keep."""

import numpy as np
import pandas as pd
import pytest

from hazy_pipeline.errors import ModelError
from hazy_pipeline.synthesizers import synthesizer_class
from hazy_pipeline.synthesizers.base import load_synthesizer

PROPOSALS = 4
SETTINGS = {"gaussian_copula": {}, "gan": {"epochs": 1}}


def rings(n: int, *, seed: int = 0) -> pd.DataFrame:
    """Places on a ring, which no correlation describes, and its colour, which says whether they lie left or right."""
    rng = np.random.default_rng(seed)
    angle, radius = rng.uniform(0, 2 * np.pi, n), rng.normal(1, 0.1, n)
    rows = pd.DataFrame({"x": (radius * np.cos(angle)).round(3), "y": (radius * np.sin(angle)).round(3)})
    rows["colour"] = np.where(np.abs(rows["x"]) > 0.7, "red", "blue")
    rows["x"] = rows["x"].mask(rng.random(n) < 0.02)
    return rows


def unlike(rows: pd.DataFrame) -> float:
    """The share of rows that lie off the ring or have the colour of the other side."""
    known = rows.dropna()
    away = np.abs(np.hypot(known["x"], known["y"]) - 1) > 0.35
    return float((away | ((known["colour"] == "red") != (known["x"].abs() > 0.7))).mean())


@pytest.fixture(params=SETTINGS)
def models(request, tables_of):
    tables, family = tables_of(rings(5_000)), request.param
    return {
        proposals: synthesizer_class(family)(tables.schema, proposals=proposals, **SETTINGS[family]).fit(tables, validation=tables)
        for proposals in (1, PROPOSALS)
    }  # fmt: skip


def test_rows_that_real_data_does_not_have_are_kept_less_often(models, tmp_path):
    plain, chosen = (models[n].sample(10_000)["rows"].to_pandas() for n in (1, PROPOSALS))
    assert unlike(rings(10_000, seed=1)) < 0.01
    assert unlike(plain) > 0.1
    assert unlike(chosen) < 0.6 * unlike(plain)
    assert 0.0 < chosen["x"].isna().mean() < 0.08

    model, folder = models[PROPOSALS], tmp_path / "model"
    whole = model.sample(40_000, random_state=5)["rows"]
    model.save(folder)
    parts = [batch for i in range(2) for batch in load_synthesizer(folder).sample_batches(
        40_000, batch_rows=999, random_state=5, shard=(i, 2), workers=2)]  # fmt: skip
    pd.testing.assert_frame_equal(pd.concat([p.to_pandas() for p in parts], ignore_index=True), whole.to_pandas())
    assert model.sample(0)["rows"].num_rows == 0

    damaged = folder / ("chooser.npz" if model.name == "gan" else "copula.npz")
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(ModelError, match="damaged"):
        load_synthesizer(folder)


def test_rows_of_given_values_are_chosen_too(tables_of):
    tables = tables_of(rings(5_000))
    made = {
        proposals: synthesizer_class("gaussian_copula")(tables.schema, proposals=proposals).fit(tables, validation=tables)
        .sample_conditional(5_000, {"colour": "blue"})["rows"].to_pandas() for proposals in (1, PROPOSALS)
    }  # fmt: skip
    assert set(made[PROPOSALS]["colour"]) == {"blue"}
    assert unlike(made[PROPOSALS]) < 0.6 * unlike(made[1])


@pytest.mark.parametrize("family", SETTINGS)
@pytest.mark.parametrize(
    "rows", [rings(1), rings(250), pd.DataFrame({"id": np.arange(300)})], ids=["one", "some", "nothing to model"]
)
def test_hardly_anything_to_learn_from(tables_of, family, rows):
    tables = tables_of(rows, {"id": "identifier"} if "id" in rows else None)
    model = synthesizer_class(family)(tables.schema, proposals=PROPOSALS, **SETTINGS[family]).fit(
        tables, validation=tables
    )
    assert model.sample(50)["rows"].num_rows == 50
