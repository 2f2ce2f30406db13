"""What a training step is made of: packs, penalty, moments, moving average, learning rate; and when training ends."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from hazy_pipeline.synthesizers.gan import Gan, fitting
from hazy_pipeline.synthesizers.gan.layout import Layout
from hazy_pipeline.synthesizers.gan.networks import Critic, n_features
from hazy_pipeline.synthesizers.gan.trainer import build_trainer
from hazy_pipeline.synthesizers.gan.training import AVERAGE, PENALTY, GanTraining, Settings

LAYOUT = Layout((2,), (3, 4), 1)
SETTINGS = Settings(epochs=10, batch_size=200, learning_rate=1e-2, latent_dim=4, width=16, depth=1, pac=2)


@pytest.fixture
def module() -> GanTraining:
    return training_on(*dependent_rows(2000))


def dependent_rows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A category that follows the mode of a continuous column half of the time, and places that follow it too."""
    rng = np.random.default_rng(seed)
    mode = rng.integers(0, 3, n)
    category = np.where(rng.random(n) < 0.5, mode, rng.integers(0, 4, n))
    places = np.where(mode < 2, rng.uniform(-0.9, 0.9, n) * 0.5 + 0.3 * (category - 1), 0)
    return np.stack([mode, category], axis=1).astype(np.int32), places[:, None].astype(np.float32)


def training_on(states: np.ndarray, places: np.ndarray) -> GanTraining:
    module = GanTraining(LAYOUT, states, places, SETTINGS, random_state=0)
    module.on_fit_start()
    return module


def test_the_critic_judges_packs_of_rows():
    critic = Critic(LAYOUT, width=16, depth=1, pac=5)
    rows = torch.randn(20, n_features(LAYOUT) + LAYOUT.condition_width, generator=torch.Generator().manual_seed(0))
    scores = critic(rows)
    assert scores.shape == (4,)
    other = rows.clone()
    other[0] += 1
    assert ((critic(other) != scores) == torch.tensor([True, False, False, False])).all()


@pytest.mark.parametrize("slope", [0.0, 1.0, 3.0])
def test_the_penalty_is_on_the_critics_slope(module, slope):
    n_inputs = 2 * (n_features(LAYOUT) + LAYOUT.condition_width)
    line = torch.nn.Linear(n_inputs, 1)
    with torch.no_grad():
        line.weight.fill_(slope / math.sqrt(n_inputs))
    module.critic.layers = torch.nn.Sequential(line)
    fake, real = torch.rand(2, 10, n_inputs // 2)
    assert module._penalty(fake, real).item() == pytest.approx(PENALTY * (slope - 1) ** 2, abs=1e-3)


def test_moments_of_rows_like_the_real_ones_differ_by_nothing_on_average(module):
    states, places = (torch.from_numpy(rows) for rows in dependent_rows(200_000, seed=1))
    alike, shuffled = [], []
    from hazy_pipeline.synthesizers.gan.networks import features

    for part in range(0, len(states), 1000):
        s, p = states[part : part + 1000], places[part : part + 1000]
        alike.append(module._moments(features(LAYOUT.rows(s, p), LAYOUT), torch.empty(0)).item())
        lost = torch.stack([s[:, 0], s[torch.randperm(1000), 1]], dim=1)
        shuffled.append(module._moments(features(LAYOUT.rows(lost, p), LAYOUT), torch.empty(0)).item())
    noise = np.std(alike) / math.sqrt(len(alike))
    assert abs(np.mean(alike)) < 5 * noise + 2e-3  # the 2,000 training rows are a sample themselves
    assert np.mean(shuffled) > 0.02, "a lost dependence must cost"


def test_wide_tables_compare_a_part_of_the_moments_with_those_of_the_batch(module, monkeypatch):
    monkeypatch.setattr("hazy_pipeline.synthesizers.gan.training.MOMENT_CELLS", 6)
    narrow = training_on(*dependent_rows(2000))
    assert narrow.moments is None
    real = narrow._real(torch.arange(400))
    assert narrow._moments(real, real).item() == pytest.approx(0, abs=1e-6)
    assert abs(narrow._moments(narrow._real(torch.arange(400, 800)), real).item()) < 0.1


def test_the_average_follows_the_generator_slowly(module):
    before = module.average.head.weight.clone()
    with torch.no_grad():
        module.generator.head.weight.add_(1.0)
    module.step = 10**6
    module._move_average()
    moved = (module.average.head.weight - before).detach()
    torch.testing.assert_close(moved, torch.full_like(moved, 1 - AVERAGE), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("done", "share"), [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)])
def test_the_learning_rate_falls_by_a_half_cosine(module, done, share):
    optimizers = module.configure_optimizers()
    module.step = round(done * SETTINGS.epochs * module.n_steps)
    module._schedule(*optimizers)
    rates = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    assert rates == pytest.approx([share * SETTINGS.learning_rate] * 2, abs=1e-9)


def test_training_ends_early_where_the_score_no_longer_gets_better(tables_of, monkeypatch):
    import pandas as pd

    monkeypatch.setattr(fitting, "NOISE", 0.0)
    monkeypatch.setattr(fitting, "PATIENCE", 3)
    monkeypatch.setattr(fitting, "SHARE_OF_EPOCHS", 0.0)
    monkeypatch.setattr("hazy_pipeline.synthesizers.gan.training.STEPS", 2)
    rng = np.random.default_rng(0)
    train = tables_of(pd.DataFrame({"a": rng.choice(list("xyz"), 300), "b": rng.normal(size=300)}))
    losses: list[float] = []
    gan = Gan(train.schema, epochs=500, batch_size=100, width=16, latent_dim=4, depth=1, pac=2)
    gan.fit(train, validation=train, on_epoch=lambda epoch, loss: losses.append(loss))
    assert len(losses) < 500
    assert len(losses) == int(np.argmin(losses)) + 1 + 3
    assert gan.loss_ == min(losses)


def test_a_cpu_keeps_full_precision_however_wide_the_networks():
    assert build_trainer(1, replace(SETTINGS, width=4096), accelerator="cpu").precision == "32-true"
