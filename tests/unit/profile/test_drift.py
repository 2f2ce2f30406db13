"""Drift from two stored profiles: 0 for the same, 1 for nothing in common, small for two samples of one thing."""

import numpy as np
import pandas as pd
import pytest

from hazy_pipeline.config import Columns
from hazy_pipeline.profile import Profile, profile_tables
from hazy_pipeline.profile.drift import drift

N = 4_000


@pytest.fixture
def profiled(tables_of):
    def profile(**columns: object) -> Profile:
        found = profile_tables(
            tables_of(pd.DataFrame({**columns, "filler": np.random.default_rng(0).normal(size=N)})), Columns()
        )
        return Profile.model_validate_json(found.model_dump_json())

    return profile


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


SAMPLES = {
    "normal": lambda g: g.normal(size=N),
    "heavy tail": lambda g: np.exp(g.normal(0, 3, size=N)),
    "spike": lambda g: np.where(g.random(N) < 0.9, 0, g.integers(1, 10_000, N)),
    "far from zero": lambda g: 1.6e9 + g.normal(size=N),
    "nulls": lambda g: np.where(g.random(N) < 0.3, np.nan, g.normal(size=N)),
    "few categories": lambda g: g.choice(["a", "b", "c"], N, p=[0.7, 0.2, 0.1]),
    "many categories": lambda g: np.array([f"k{i}" for i in np.minimum(g.geometric(0.02, N), 200)]),
    "dates": lambda g: pd.Timestamp("2020-01-01") + pd.to_timedelta(g.integers(0, 900, N), unit="D"),
    "booleans": lambda g: g.random(N) < 0.4,
}


@pytest.mark.parametrize("draw", SAMPLES.values(), ids=SAMPLES.keys())
def test_the_same_is_0_and_another_sample_of_it_little(profiled, draw) -> None:
    before, after = profiled(x=draw(rng(1))), profiled(x=draw(rng(2)))
    assert drift(before, before)["x"] == 0
    assert 0 <= drift(before, after)["x"] < 0.12
    assert drift(before, after)["x"] == pytest.approx(drift(after, before)["x"])


@pytest.mark.parametrize(
    ("before", "after", "low", "high"),
    [
        (rng(1).normal(size=N), rng(2).normal(1, 1, size=N), 0.3, 0.5),
        (rng(1).normal(size=N), rng(2).normal(0.2, 1, size=N), 0.06, 0.2),
        (rng(1).normal(size=N), rng(2).normal(100, 1, size=N), 0.99, 1),
        (rng(1).normal(size=N), rng(2).normal(size=N) * 1_000, 0.75, 1),
        (rng(1).choice(list("ab"), N), rng(2).choice(list("cd"), N), 1, 1),
        (["k"] * N, ["l"] * N, 1, 1),
        (["a", "b"] * (N // 2), ["a"] * (N // 2) + ["b"] * (N // 4) + ["c"] * (N // 4), 0.35, 0.45),
        (rng(1).normal(size=N), np.where(rng(1).random(N) < 0.5, np.nan, rng(1).normal(size=N)), 0.35, 0.6),
    ],
    ids=["a deviation", "a fifth of it", "far away", "another scale", "other categories", "another constant", "a new category", "nulls"],
)  # fmt: skip
def test_a_change_shows(profiled, before: object, after: object, low: float, high: float) -> None:
    assert low <= drift(profiled(x=before), profiled(x=after))["x"] <= high + 1e-9


def test_the_distance_of_two_coins_is_the_textbook_s(profiled) -> None:
    coin = lambda heads: np.repeat(["h", "t"], [heads, N - heads])  # noqa: E731
    p, q = np.array([0.5, 0.5]), np.array([0.9, 0.1])
    m = (p + q) / 2
    divergence = ((p * np.log2(p / m)).sum() + (q * np.log2(q / m)).sum()) / 2
    assert drift(profiled(x=coin(2_000)), profiled(x=coin(3_600)))["x"] == pytest.approx(np.sqrt(divergence))


def test_columns_that_come_go_or_change_their_kind_have_drifted(profiled) -> None:
    before = profiled(old=rng(1).normal(size=N), both=rng(1).normal(size=N))
    after = profiled(new=rng(1).normal(size=N), both=rng(1).choice(list("ab"), N))
    assert drift(before, after) == {"old": 1.0, "both": 1.0, "filler": 0.0, "new": 1.0}


def test_identifiers_and_texts_are_compared_by_nulls(profiled) -> None:
    sentence = [f"a sentence about flat {i}" for i in range(N)]
    other = [f"quite another sentence {i}" for i in range(N)]
    before = profiled(id=np.arange(N), text=sentence)
    assert drift(before, profiled(id=np.arange(N) + N, text=other)) == {"id": 0.0, "text": 0.0, "filler": 0.0}
    assert drift(before, profiled(id=np.arange(N), text=[*sentence[: N // 2], *[None] * (N // 2)]))["text"] > 0.3
