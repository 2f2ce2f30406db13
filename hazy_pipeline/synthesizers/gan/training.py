"""The two networks' training steps as a Lightning module; batches are drawn on the device, there is no data loader."""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor

from hazy_pipeline.synthesizers.gan.checkpoint import (
    module_tensors,
    optimizer_tensors,
    restore_module,
    restore_optimizer,
)
from hazy_pipeline.synthesizers.gan.conditions import Conditions
from hazy_pipeline.synthesizers.gan.graph import Recorded
from hazy_pipeline.synthesizers.gan.layout import Layout
from hazy_pipeline.synthesizers.gan.networks import (
    Critic,
    Generator,
    draw_rows,
    features,
    n_hats,
)

PENALTY = 10.0  # weight of the gradient penalty (Gulrajani et al. 2017, section 4)
STEPS = 40  # of an epoch at least: rows are drawn with replacement, and a small table needs as many updates as a large
MOMENT_ROWS = 100_000  # training rows whose moments are taken, at most
MOMENTS = 100.0  # weight of the moments' distance
MOMENT_CELLS = 1024  # of a row whose moments are compared in one step, drawn anew each time in wider tables
AVERAGE = 0.999  # share of the moving average that a step keeps (Yazici et al. 2019)
BETAS = (0.5, 0.9)  # of Adam, as published
WEIGHT_DECAY = 1e-6  # of the generator, as published
FIXED = 50.0  # added to the logit of the state that a condition fixes


@dataclass(frozen=True)
class Settings:
    """The hyperparameters of `search_spaces.GanSpace` that concern the networks and their training."""

    epochs: int
    batch_size: int
    learning_rate: float
    latent_dim: int
    width: int
    depth: int
    pac: int


class GanTraining(pl.LightningModule):
    """Wasserstein training with gradient penalty of a conditional generator against a packed critic.

    As Xu et al. 2019, section 4.4, except that
    - categories are drawn by their frequency (see `conditions`) and every mode has a place (see `layout`);
    - a condition fixes its column's state outright, where the paper adds a cross-entropy to the generator's loss;
    - the generator also lessens the distance of its rows' second moments to the training rows' (mean and covariance
      matching, Mroueh et al. 2017): on one-hot rows and soft bins of places these are the contingency tables of all
      pairs of columns, taken from the chances of the states, whose gradient needs no draw. The estimate is the product
      of the differences of two half-batches, hence unbiased (the U-statistic of a squared maximum mean discrepancy
      with a quadratic kernel, Gretton et al. 2012, section 2.2);
    - one generated batch serves both networks' updates, and the critic has no dropout;
    - the learning rate falls to zero by a half cosine, and the generator that is kept is a moving average.
    """

    def __init__(self, layout: Layout, states: NDArray[np.int32], places: NDArray[np.float32], settings: Settings,
                 *, random_state: int, n_processes: int = 1, start: Mapping[str, Tensor] | None = None) -> None:  # fmt: skip
        """`states`: (rows, blocks) and `places`: (rows, continuous columns) of the training rows.

        Of `n_processes` that train together, each draws batches of its own, from all rows; all begin with the weights of
        the first. `start`: the generator's first weights; without it they are random, as the critic's are in any case.
        """
        super().__init__()
        self.automatic_optimization = False
        self.layout, self.settings, self.random_state = layout, settings, random_state
        self.training_rows = states, places
        most = min(settings.batch_size, max(len(states), settings.pac))
        self.batch_rows = max(1, most // settings.pac) * settings.pac
        self.n_steps = max(STEPS, len(states) // (self.batch_rows * n_processes))  # per epoch
        self._recorded: Recorded | None = None
        self._n_processes = n_processes
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_state)
            self.generator = Generator(
                layout, latent_dim=settings.latent_dim, width=settings.width, depth=settings.depth
            )
            self.critic = Critic(layout, width=settings.width, depth=settings.depth, pac=settings.pac)
        if start is not None:
            self.generator.load_state_dict(start)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.step = 0
        self.renewed: Tensor  # by how much the moving average moves in this step
        self.register_buffer("renewed", torch.zeros(()), persistent=False)
        self.after_epoch: Callable[[], None] = lambda: None
        self.resume_from: dict[str, Tensor] | None = None

    def train_dataloader(self) -> range:
        return range(self.n_steps)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        rate, on_gpu = self.settings.learning_rate, self.device.type == "cuda"
        # a recorded step reads its numbers from the device's memory
        lr = torch.tensor(rate, device=self.device) if on_gpu else rate
        common: dict[str, Any] = {"lr": lr, "betas": BETAS, "fused": True, "capturable": on_gpu}
        return [
            torch.optim.Adam(self.generator.parameters(), weight_decay=WEIGHT_DECAY, **common),
            torch.optim.Adam(self.critic.parameters(), **common),
        ]

    def on_fit_start(self) -> None:
        states, places = self.training_rows
        self.random = torch.Generator(self.device).manual_seed(self.random_state * 1009 + self.global_rank)
        self.states = torch.from_numpy(states).to(self.device)
        self.places = torch.from_numpy(places).to(self.device)
        blocks = self.layout.blocks()
        of_bins = blocks[: self.layout.n_places].repeat_interleave(n_hats(self.layout))
        self.blocks = torch.cat([of_bins, blocks[self._n_bare_places :]]).to(self.device)
        self.moments = self._real_moments() if len(self.blocks) <= MOMENT_CELLS else None
        self.conditions = Conditions(self.layout, states, self.device)
        if self.resume_from is not None:
            self._restore(self.resume_from)
        if self.device.type == "cuda" and self._n_processes == 1:
            self._recorded = Recorded(self._update, self.random)

    def on_fit_end(self) -> None:
        self._recorded = None  # with the memory of its own that a recorded step holds

    def training_step(self, batch: int, batch_idx: int) -> None:
        self._schedule(*self._both_optimizers())
        (self._recorded or self._update)()
        self.step += 1

    def _update(self) -> None:
        """One update of the critic, then one of the generator, with the same drawn rows."""
        by_generator, by_critic = self._both_optimizers()
        vectors, cells, rows = self.conditions.draw(self.batch_rows, self.random)
        logits = self._logits(self.generator, vectors, cells)
        drawn, expected = draw_rows(logits, self.layout, self.random)
        real = self._real(rows)

        fake_seen = torch.cat([drawn.detach(), vectors], dim=1)
        real_seen = torch.cat([real, vectors], dim=1)
        fake_scores, real_scores = self.critic(torch.cat([fake_seen, real_seen])).chunk(2)
        loss = fake_scores.mean() - real_scores.mean() + self._penalty(fake_seen, real_seen)
        by_critic.zero_grad()
        self.manual_backward(loss)
        by_critic.step()

        self.critic.requires_grad_(False)
        scores = self.critic(torch.cat([drawn, vectors], dim=1))
        loss = MOMENTS * self._moments(expected, real) - scores.mean()
        by_generator.zero_grad()
        self.manual_backward(loss)
        by_generator.step()
        self.critic.requires_grad_(True)
        self._move_average()

    def _both_optimizers(self) -> tuple[LightningOptimizer, LightningOptimizer]:
        both = self.optimizers()
        assert isinstance(both, list)
        return both[0], both[1]

    def on_train_epoch_start(self) -> None:
        if self.global_rank > 0:  # anew, for a checkpoint holds the first process's random numbers alone
            self.random.manual_seed((self.random_state * 1009 + self.global_rank) * 1009 + self.step)

    def on_train_epoch_end(self) -> None:
        self.after_epoch()

    @torch.inference_mode()
    def sample(self, n_rows: int) -> tuple[Tensor, Tensor]:
        """States and places from the averaged generator, on the device; the training's own random numbers are kept."""
        random = torch.Generator(self.device).manual_seed(self.random_state + 1)
        self.average.eval()
        vectors, cells, _ = self.conditions.draw(n_rows, random)
        noise = torch.randn(n_rows, self.settings.latent_dim, generator=random, device=self.device)
        drawn, _ = draw_rows(self._fix(self.average(noise, vectors), cells), self.layout, random)
        rows = drawn[:, -self.layout.width :]  # without the soft bins
        states = self.layout.argmax(rows)
        return states, self.layout.places(rows, states)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a resumed training needs."""
        by_generator, by_critic = self._both_optimizers()
        return {
            **module_tensors("generator", self.generator),
            **module_tensors("critic", self.critic),
            **module_tensors("average", self.average),
            **optimizer_tensors("by_generator", by_generator.optimizer),
            **optimizer_tensors("by_critic", by_critic.optimizer),
            "random": self.random.get_state(),
        }

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        by_generator, by_critic = self._both_optimizers()
        for name, module in (("generator", self.generator), ("critic", self.critic), ("average", self.average)):
            restore_module(name, module, tensors)
        restore_optimizer("by_generator", by_generator.optimizer, tensors)
        restore_optimizer("by_critic", by_critic.optimizer, tensors)
        if self.global_rank == 0:
            self.random.set_state(tensors["random"])

    def _logits(self, network: Generator, vectors: Tensor, cells: Tensor) -> Tensor:
        noise = torch.randn(len(vectors), self.settings.latent_dim, generator=self.random, device=self.device)
        return self._fix(network(noise, vectors), cells)

    def _fix(self, logits: Tensor, cells: Tensor) -> Tensor:
        """Logits in which the conditions' cells win; the conditioned column then needs no learning."""
        if not len(cells):
            return logits
        return logits.scatter_add(1, cells[:, None], logits.new_full((len(cells), 1), FIXED))

    def _real(self, rows: Tensor) -> Tensor:
        """Features of the training rows of these numbers."""
        seen = self.layout.rows(self.states[rows], self.places[rows])
        return features(seen, self.layout)

    def _real_moments(self) -> Tensor:
        """Mean products of features over the training rows, at most `MOMENT_ROWS` of them."""
        numbers = torch.arange(len(self.states), device=self.device)
        total = torch.zeros(len(self.blocks) + 1, len(self.blocks) + 1, device=self.device)
        numbers = numbers[:: -(-len(numbers) // MOMENT_ROWS)]
        for start in range(0, len(numbers), 4096):
            seen = self._moment_features(self._real(numbers[start : start + 4096]))
            total += seen.T @ seen
        return total / len(numbers)

    def _moment_features(self, rows: Tensor) -> Tensor:
        """A column of ones, which brings the first moments, and the features, of places their soft bins if any."""
        n_bins = self.layout.n_places * n_hats(self.layout)
        parts = [rows.new_ones(len(rows), 1), rows[:, :n_bins], rows[:, n_bins + self._n_bare_places :]]
        return torch.cat(parts, dim=1)

    @property
    def _n_bare_places(self) -> int:
        """Places that the moments leave out, because their soft bins tell more."""
        return self.layout.n_places if n_hats(self.layout) else 0

    def _moments(self, expected: Tensor, real: Tensor) -> Tensor:
        """Estimate of the squared distance of first and second moments, per column; may be below 0.

        Blocks are drawn independently given the logits, so that the product of two blocks' chances is the expected
        contingency table. Inside a block it is not, hence the mask.
        """
        blocks, expected = self.blocks, self._moment_features(expected)
        halves = expected.chunk(2)
        if self.moments is not None:
            differences = [half.T @ half / len(half) - self.moments for half in halves]
        else:
            chosen = torch.rand(len(blocks), generator=self.random, device=self.device).argsort()[:MOMENT_CELLS]
            blocks, kept = blocks[chosen], torch.cat([chosen.new_zeros(1), chosen + 1])
            parts = (rows.index_select(1, kept).chunk(2) for rows in (expected, self._moment_features(real)))
            pairs = zip(*parts, strict=True)
            differences = [(fake.T @ fake - true.T @ true) / len(fake) for fake, true in pairs]
        between = torch.nn.functional.pad((blocks[:, None] != blocks).float(), (1, 0, 1, 0), value=1.0)
        return (differences[0] * differences[-1] * between).sum() / len(self.layout.sizes)

    def _penalty(self, fake: Tensor, real: Tensor) -> Tensor:
        """Distance of the critic's gradient norm from 1 on lines between packs of drawn and real rows."""
        pac = self.settings.pac
        packs = (len(fake) // pac, pac, -1)
        weight = torch.rand(packs[0], 1, 1, generator=self.random, device=self.device)
        between = torch.lerp(real.view(packs), fake.view(packs), weight).flatten(0, 1).requires_grad_()
        (gradient,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        penalty: Tensor = PENALTY * ((gradient.reshape(packs[0], -1).norm(dim=1) - 1) ** 2).mean()
        return penalty

    @torch.no_grad()
    def _move_average(self) -> None:
        averaged = [*self.average.parameters(), *(b for b in self.average.buffers() if b.is_floating_point())]
        current = [*self.generator.parameters(), *(b for b in self.generator.buffers() if b.is_floating_point())]
        if self.device.type == "cuda":
            differences = torch._foreach_sub(current, averaged)
            torch._foreach_mul_(differences, self.renewed)
            torch._foreach_add_(averaged, differences)
        else:
            torch._foreach_lerp_(averaged, current, 1 - self._kept)

    @property
    def _kept(self) -> float:
        """The share of itself that the moving average keeps in this step: early weights are forgotten quickly."""
        return min(AVERAGE, (2 + self.step) / (11 + self.step))

    def _schedule(self, *optimizers: Any) -> None:
        """What differs from step to step: the learning rate, and how far the average moves."""
        done = min(1.0, self.step / (self.settings.epochs * self.n_steps))
        rate = self.settings.learning_rate * (0.5 + 0.5 * math.cos(math.pi * done))
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate
        self.renewed.fill_(1 - self._kept)
