"""The sampler that stands for the trained generator."""

import numpy as np
import torch

from hazy_pipeline.synthesizers.gan.layout import Layout
from hazy_pipeline.synthesizers.gan.networks import Generator
from hazy_pipeline.synthesizers.gan.sampling import Sampler


def trained(layout: Layout, depth: int) -> Generator:
    torch.manual_seed(0)
    network = Generator(layout, latent_dim=6, width=16, depth=depth)
    with torch.no_grad():
        for layer in network.layers:
            layer.norm.running_mean.normal_()
            layer.norm.running_var.uniform_(0.5, 2)
            layer.norm.weight.uniform_(0.5, 2)
            layer.norm.bias.normal_()
    return network.eval()


def test_folded_weights_give_the_networks_own_logits():
    layout = Layout((2, 7), (3, 9, 4, 2), 2)
    for depth in (1, 2, 3):
        network = trained(layout, depth)
        sampler = Sampler(layout, network.state_dict(), [np.array([5, 5, 5, 5]), np.array([1, 3])])
        conditions = torch.randint(0, 6, (50,))
        noise = torch.randn(50, 6, generator=torch.Generator().manual_seed(4))
        expected = network(noise, torch.nn.functional.one_hot(conditions, 6).float())
        logits = torch.from_numpy(sampler._logits(conditions.numpy(), noise.T.numpy()).T)
        cells = [torch.arange(start, start + size) for start, size in zip(layout.starts, layout.sizes, strict=True)]
        used = torch.cat([torch.arange(layout.n_places), torch.cat(cells)[sampler.states.cells]])
        torch.testing.assert_close(logits, expected[:, used], rtol=1e-4, atol=1e-4)


def test_conditions_follow_the_frequencies_and_hold():
    layout = Layout((), (3, 2), 2)
    network = trained(layout, 1)
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.zero_()  # what is not conditioned is drawn uniformly
    sampler = Sampler(layout, network.state_dict(), [np.array([80, 20, 0]), np.array([10, 90])])
    states, places = sampler.draw(40_000, np.random.default_rng(0))
    assert places.shape == (40_000, 0)
    expected = (np.array([0.8, 0.2, 0]) + 1 / 3) / 2
    np.testing.assert_allclose(np.bincount(states[:, 0]) / 40_000, expected, atol=0.01)
    np.testing.assert_allclose(np.bincount(states[:, 1]) / 40_000, (np.array([0.1, 0.9]) + 0.5) / 2, atol=0.01)


def test_blocks_of_many_states_are_drawn_whole():
    layout = Layout((), (700,), 0)
    network = trained(layout, 1)
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.zero_()
    states, _ = Sampler(layout, network.state_dict(), []).draw(70_000, np.random.default_rng(0))
    counts = np.bincount(states[:, 0], minlength=700)
    assert len(counts) == 700
    assert counts.min() > 50


def test_without_discrete_columns_there_are_no_conditions():
    layout = Layout((3, 1), (3, 2), 0)
    sampler = Sampler(layout, trained(layout, 2).state_dict(), [])
    states, places = sampler.draw(5000, np.random.default_rng(0))
    assert states.shape == (5000, 2)
    assert np.abs(places).max() <= 1


def test_each_block_gets_the_states_of_its_own_cells():
    """Every state of every block is made certain once, the condition aside."""
    layout = Layout((2,), (3, 1, 5, 2, 5), 3)
    network = trained(layout, 1)
    for wanted in ((0, 0, 0, 0, 0), (1, 0, 2, 1, 4), (2, 0, 4, 1, 1)):
        with torch.no_grad():
            network.head.weight.zero_()
            network.head.bias.zero_()
            for start, state in zip(layout.starts, wanted, strict=True):
                network.head.bias[start + state] = 50.0
        certain = [
            np.eye(size, dtype=np.int64)[state] for size, state in zip(layout.sizes[2:], wanted[2:], strict=True)
        ]
        states, _ = Sampler(layout, network.state_dict(), certain).draw(3000, np.random.default_rng(0))
        np.testing.assert_array_equal(states, np.tile(wanted, (3000, 1)))


def test_one_thread_draws_and_the_others_are_back_afterwards(monkeypatch):
    layout = Layout((), (3, 2), 2)
    sampler = Sampler(layout, trained(layout, 1).state_dict(), [np.array([1, 1, 1]), np.array([1, 1])])
    seen = []

    def logits(*arguments):
        seen.append(torch.get_num_threads())
        return Sampler._logits(sampler, *arguments)

    monkeypatch.setattr(sampler, "_logits", logits)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        sampler.draw(10, np.random.default_rng(0))
        assert seen == [1]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
