"""Small timed fits of one candidate, or small timed evaluations, in a process of their own.

`python -m hazy_pipeline.estimate.probe FOLDER` reads `probe.json` and the rows from FOLDER and prints a line of JSON per
result as it comes, so that what was measured counts even where the process is ended early. Its own process: the peak of
memory is then the candidate's, and a probe that takes too long can be ended.
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from upath import UPath

from hazy_pipeline.errors import HazyError
from hazy_pipeline.estimate.estimator import Estimator
from hazy_pipeline.estimate.measure import Taken, resident, taken_by
from hazy_pipeline.estimate.model import Machine, Observation, Shape
from hazy_pipeline.search_spaces import Hyperparameters, SearchSpace
from hazy_pipeline.synthesizers.base import Synthesizer
from hazy_pipeline.tables import Tables, write_frames

WARM_UP, SMALLEST, FACTOR = 300, 1_000, 3  # rows: not counted, first counted, and how much more each time
EPOCHS = (1, 3)  # of a family that has epochs: enough to tell an epoch from what comes before and after
SAMPLED = 20_000
CORNER_ROWS = 3_000


@dataclass(frozen=True)
class Spec:
    """What the process is to do; JSON."""

    candidate: str  # "" for evaluations
    shape: Shape
    seconds: float  # of processor time, all probes together
    configurations: tuple[Hyperparameters, ...]  # the first one, then others of the search space
    target: str | None
    min_rows: int
    text: str
    n_train: int  # rows of the trial that is to be predicted: no probe needs to be larger
    n_reference: int

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> "Spec":
        return cls(
            **{**state, "shape": Shape.from_json(state["shape"]), "configurations": tuple(state["configurations"])}
        )


def corners(space: SearchSpace) -> tuple[Hyperparameters, ...]:
    """The configuration that is tried first, and the two ends of the space: least and most of every number."""
    first = space.first()
    ends = []
    for pick in (max, min):
        own = dict(first)
        for name in space.limits:
            numbers = [value for value in getattr(space, name).bounds if not isinstance(value, str | bool)]
            own[name] = pick(numbers) if numbers else getattr(space, name).bounds[-1 if pick is max else 0]
        ends.append(own)
    return tuple(each for i, each in enumerate((first, *ends)) if each not in (first, *ends)[:i])


def plan(spec: Spec, available: int) -> Iterator[tuple[Hyperparameters, int]]:
    """Settings and rows of each probe, the most telling first."""
    first, *others = spec.configurations or ({},)
    most = min(available, spec.n_train)
    yield _short(first, EPOCHS[0]), min(SMALLEST, most)
    yield _short(first, EPOCHS[1]), min(SMALLEST * FACTOR, most)
    for settings in others[:1]:
        yield _short(settings, EPOCHS[0]), min(CORNER_ROWS, most)
    n_rows = SMALLEST * FACTOR
    while n_rows < most:
        n_rows = min(n_rows * FACTOR, most)
        yield _short(first, EPOCHS[0]), n_rows
    for settings in others[1:]:
        yield _short(settings, EPOCHS[0]), min(CORNER_ROWS, most)


def _short(settings: Hyperparameters, epochs: int) -> Hyperparameters:
    return {**settings, "epochs": min(epochs, int(settings["epochs"]))} if "epochs" in settings else settings


class _Probes:
    def __init__(self, spec: Spec, folder: UPath) -> None:
        self.spec, self.folder = spec, folder
        tables = Tables(folder / "rows")
        self.schema, self.table = tables.schema, tables.schema.only_table
        rows = tables.read(self.table.name)
        self.rows = rows.take(np.random.default_rng(0).permutation(rows.num_rows))
        n_unseen = max(1, min(rows.num_rows // 5, 2_000))
        self.unseen = write_frames(folder / "unseen", self.schema, {self.table.name: self.rows.slice(0, n_unseen)})
        self.n_fitted = rows.num_rows - n_unseen
        self.estimator = Estimator(spec.shape, Machine.here())
        self.held = 0
        self.spent = 0.0

    def run(self) -> Iterator[Observation]:
        yield from self.evaluations() if not self.spec.candidate else self.fits()

    def fits(self) -> Iterator[Observation]:
        """Fits by the plan, each only where it is expected to fit into what is left of the time."""
        self._prepare()
        drawn = False
        for settings, n_rows in plan(self.spec, self.n_fitted):
            expected = self.estimator.predict(self.spec.candidate, settings, n_rows).cpu_seconds
            if self.estimator.observations and self.spent + expected > self.spec.seconds:
                continue
            fitted, taken = self._fit(settings, n_rows)
            yield self._seen(Observation("fit", self.spec.candidate, n_rows, taken.cpu, taken.wall, taken.peak - self.held,
                                         settings, gpu=_on_gpu(fitted)))  # fmt: skip
            if not drawn:
                drawn = True
                yield self._sampled(fitted)

    def evaluations(self) -> Iterator[Observation]:
        """Real rows stand in for synthetic ones; some are training rows as well, which costs the same."""
        ratio = max(self.spec.n_reference, 1) / max(self.spec.n_train, 1)
        self.held = self._judge(min(WARM_UP, self.n_fitted // 3), 50).peak
        n_rows = min(SMALLEST, self.spec.n_train)
        while n_rows <= self.rows.num_rows:
            n_reference = min(max(int(n_rows * ratio), 20), self.rows.num_rows)
            expected = self.estimator.evaluation(n_rows, n_reference).cpu_seconds
            if self.estimator.observations and self.spent + expected > self.spec.seconds:
                return
            taken = self._judge(n_rows, n_reference)
            yield self._seen(Observation("evaluate", "", n_rows, taken.cpu, taken.wall, taken.peak - self.held,
                                         n_reference=n_reference))  # fmt: skip
            if n_rows >= self.spec.n_train:
                return
            n_rows = min(n_rows * FACTOR, max(self.spec.n_train, n_rows + 1))

    def _prepare(self) -> None:
        """Everything imported and set up once, which is no part of a fit's cost; then what the process holds."""
        settings = _short(self.spec.configurations[0] if self.spec.configurations else {}, 1)
        self._fit({**settings, "batch_size": 10, "pac": 1} if "batch_size" in settings else settings,
                  min(WARM_UP, self.n_fitted))  # fmt: skip
        self.held = resident()

    def _fit(self, settings: Hyperparameters, n_rows: int) -> tuple[Synthesizer, Taken]:
        from hazy_pipeline.synthesizers import synthesizer_class

        spec = self.spec
        rows = self.rows.slice(self.rows.num_rows - n_rows, n_rows)
        train = write_frames(self.folder / f"rows-{n_rows}", self.schema, {self.table.name: rows})
        synthesizer = synthesizer_class(spec.candidate)(
            self.schema, random_state=0, min_rows=spec.min_rows, text=spec.text, target=spec.target, **settings
        )
        return taken_by(lambda: synthesizer.fit(train, validation=self.unseen))

    def _sampled(self, fitted: Synthesizer) -> Observation:
        fitted.sample(10)  # what is made at the first draw
        _, taken = taken_by(lambda: fitted.sample(SAMPLED))
        return self._seen(
            Observation(
                "sample",
                self.spec.candidate,
                SAMPLED,
                taken.cpu,
                taken.wall,
                taken.peak - self.held,
                fitted.hyperparameters,
            )
        )

    def _judge(self, n_rows: int, n_reference: int) -> Taken:
        from hazy_pipeline.evaluate import evaluate

        left = self.rows.num_rows - n_rows
        synthetic, train = self.rows.slice(0, n_rows), self.rows.slice(left, n_rows)
        reference = self.rows.slice(min(n_rows, self.rows.num_rows - n_reference), n_reference)
        return taken_by(lambda: evaluate(synthetic, train, reference, self.table, target=self.spec.target))[1]

    def _seen(self, observation: Observation) -> Observation:
        observation = replace(observation, bytes=max(observation.bytes, 1))
        self.estimator = self.estimator.with_observations(observation)
        self.spent += observation.cpu
        return observation


def _on_gpu(fitted: Synthesizer) -> bool:
    if fitted.accelerator != "gpu" or "torch" not in sys.modules:
        return False
    return bool(sys.modules["torch"].cuda.is_available())


def main(folder: str) -> None:
    path = Path(folder)
    spec = Spec.from_json(json.loads((path / "probe.json").read_text(encoding="utf-8")))
    began = time.perf_counter()
    try:
        probes = _Probes(spec, UPath(path))
        for observation in probes.run():
            print(json.dumps({"observation": observation.to_json()}), flush=True)
        print(json.dumps({"interpreter": probes.held, "seconds": time.perf_counter() - began}), flush=True)
    except HazyError as error:  # this family cannot learn this table, which is worth knowing beforehand
        print(json.dumps({"error": str(error)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
