"""Generator and critic of Xu et al. 2019, section 4.4."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hazy_pipeline.synthesizers.gan.layout import Layout

HATS = 12  # soft bins of a column
FINE = 8  # modes of a column from which on they need no soft bins


class Residual(nn.Module):
    """A layer whose output is put beside its input, so that later layers see both."""

    def __init__(self, n_inputs: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_inputs, width)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, functional.relu(self.norm(self.linear(x)))], dim=1)


class Generator(nn.Module):
    """Noise and condition to a row of logits (batch, layout.width): places before tanh, states before the softmax."""

    def __init__(self, layout: Layout, *, latent_dim: int, width: int, depth: int) -> None:
        super().__init__()
        n_inputs = latent_dim + layout.condition_width
        self.layers = nn.Sequential(*(Residual(n_inputs + i * width, width) for i in range(depth)))
        self.head = nn.Linear(n_inputs + depth * width, layout.width)
        self.register_buffer("padding", layout.padding(), persistent=False)

    def forward(self, noise: Tensor, condition: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layers(torch.cat([noise, condition], dim=1))) + self.padding
        return logits


class Critic(nn.Module):
    """Judges `pac` rows with their conditions at once (PacGAN, Lin et al. 2018), against mode collapse."""

    def __init__(self, layout: Layout, *, width: int, depth: int, pac: int) -> None:
        super().__init__()
        self.pac = pac
        n_inputs = pac * (n_features(layout) + layout.condition_width)
        layers: list[nn.Module] = []
        for i in range(depth):
            layers += [nn.Linear(n_inputs if i == 0 else width, width), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, rows: Tensor) -> Tensor:
        """Scores (batch / pac,) of features with conditions (batch, n_features + layout.condition_width)."""
        scores: Tensor = self.layers(rows.reshape(len(rows) // self.pac, -1))
        return scores.squeeze(1)


def n_hats(layout: Layout) -> int:
    """Soft bins of each place, finer where columns have few modes; none where the modes are fine enough."""
    n_modes = max(layout.modes, default=0)
    return HATS // n_modes + 1 if 0 < n_modes < FINE else 0


def n_features(layout: Layout) -> int:
    return layout.n_places * n_hats(layout) + layout.width


def features(rows: Tensor, layout: Layout) -> Tensor:
    """What the critic and the moments see of rows (batch, layout.width): soft bins of the places, then the rows.

    Bins are hat functions that sum to 1 (a linear B-spline basis): their products between columns are smooth
    contingency tables, with gradients to the places.
    """
    return _with_places(rows[:, : layout.n_places], rows[:, layout.n_places :], layout)


def hats(places: Tensor, n: int) -> Tensor:
    """Weights (batch, places, n) of `n` hat functions with equally spaced tops over [-1, 1]."""
    tops = torch.linspace(-1, 1, n, device=places.device)
    return functional.relu(1 - (places.unsqueeze(2) - tops).abs() * ((n - 1) / 2))


def draw_rows(logits: Tensor, layout: Layout, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Features of rows drawn from the generator's logits, and of the mean of all that may be drawn, with gradients.

    States are one-hot in the forward pass, so that the critic never sees soft states that no real row has; the
    gradient is that of their chances (straight-through, Bengio et al. 2013). A Gumbel softmax (Xu et al. 2019, section
    4.4) costs a second softmax and a random number per cell instead of one per column, and trained no better.
    """
    logits = logits.float()
    drawn: list[Tensor] = []
    chances: list[Tensor] = []
    draws = torch.rand(len(logits), len(layout.sizes), 1, generator=generator, device=logits.device)
    at = 0
    for start, count, size, _ in layout.groups:
        soft = logits[:, start : start + count * size].reshape(len(logits), count, size).softmax(-1)
        with torch.no_grad():
            cumulative = soft.cumsum(-1)
            below = cumulative < draws[:, at : at + count] * cumulative[:, :, -1:]
            hard = torch.zeros_like(soft).scatter_(-1, below.sum(-1, keepdim=True), 1.0) - soft
        at += count
        drawn.append((soft + hard).flatten(1))
        chances.append(soft.flatten(1))
    places = torch.tanh(logits[:, : layout.n_places])
    return (
        _with_places(places, torch.cat(drawn, dim=1), layout),
        _with_places(places, torch.cat(chances, dim=1), layout),
    )


def _with_places(places: Tensor, states: Tensor, layout: Layout) -> Tensor:
    """Features of states (or chances) and the places of their modes."""
    chances = layout.places_of_states(states)
    rows = [places * chances, states]
    if n_hats(layout):
        rows.insert(0, (hats(places, n_hats(layout)) * chances.unsqueeze(2)).flatten(1))
    return torch.cat(rows, dim=1)
