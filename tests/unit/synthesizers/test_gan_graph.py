"""Steps recorded as a CUDA graph, on a machine that has a GPU."""

import numpy as np
import pandas as pd
import pytest
import torch

from hazy_pipeline.synthesizers.gan import Gan, training
from hazy_pipeline.synthesizers.gan.graph import EAGER, Recorded

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA")


class Eager:
    """What a recorded step is compared with: every step started kernel by kernel."""

    def __init__(self, update, random):
        self.update = update

    def __call__(self):
        self.update()


@pytest.fixture
def train(tables_of):
    rng = np.random.default_rng(0)
    kind = rng.integers(3, size=3000)
    return tables_of(pd.DataFrame({"kind": np.array(list("abc"))[kind], "size": rng.normal(kind, 0.3),
                                   "flag": rng.random(3000) < 0.2}))  # fmt: skip


def fitted(train, **hyperparameters):
    gan = Gan(train.schema, epochs=3, batch_size=100, width=32, latent_dim=8, **hyperparameters)
    gan.fit(train, validation=train)
    return gan


@pytest.mark.parametrize("wide", [False, True], ids=["all moments", "a part of the moments"])
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_gives_the_weights_that_single_steps_give(train, monkeypatch, wide, half):
    monkeypatch.setattr("hazy_pipeline.synthesizers.gan.trainer.WIDE", 0 if half else 10**9)
    monkeypatch.setattr(training, "MOMENT_CELLS", 4 if wide else 1024)
    recorded = fitted(train)
    monkeypatch.setattr(training, "Recorded", Eager)
    for name, weights in fitted(train).weights_.items():
        torch.testing.assert_close(recorded.weights_[name], weights)


def test_draws_other_random_numbers_in_every_replay():
    random = torch.Generator("cuda").manual_seed(1)
    drawn, out = [], torch.zeros(5, device="cuda")
    recorded = Recorded(lambda: out.copy_(torch.rand(5, generator=random, device="cuda")), random)
    for _ in range(EAGER + 4):
        recorded()
        drawn.append(out.tolist())
    assert len({tuple(numbers) for numbers in drawn}) == len(drawn)
