"""Probes in processes of their own: they stay within their time, survive bad families, and leave what they saw."""

import json
import sys
from pathlib import Path

import pytest
from upath import UPath

from hazy_pipeline.config import GeneratorConfig
from hazy_pipeline.estimate.model import Observation, Shape
from hazy_pipeline.estimate.probe import Spec, corners, plan
from hazy_pipeline.estimate.probing import probe, read
from hazy_pipeline.profile.model import Profile
from hazy_pipeline.search_spaces import SPACES, UseCase, search_space
from hazy_pipeline.tables import Tables


def spec(candidate: str = "gan", n_train: int = 40_000) -> Spec:
    space = search_space(candidate, UseCase.ANALYSIS)
    return Spec(candidate, Shape(50_000, 3, (2,)), 4.0, corners(space), None, 5, "null", n_train, 4_000)


@pytest.mark.parametrize("candidate", SPACES)
def test_the_corners_of_a_space_are_the_first_the_dearest_and_the_cheapest(candidate: str) -> None:
    space = search_space(candidate, UseCase.ANALYSIS)
    first, most, least = corners(space)
    assert first == space.first()
    assert all(space.contains(settings) for settings in (first, most, least))
    assert all(most[name] >= least[name] for name in most if not isinstance(most[name], str | bool))


def test_a_fixed_space_has_one_corner() -> None:
    fixed = {"marginals": "empirical", "n_quantiles": 100, "max_categories": 50, "shrinkage": 0.0, "proposals": 1}
    assert len(corners(search_space("gaussian_copula", UseCase.ANALYSIS, fixed))) == 1


def test_probes_grow_up_to_the_trial_and_train_few_epochs() -> None:
    probes = list(plan(spec(), available=48_000))
    sizes = [n_rows for _, n_rows in probes]
    assert sizes[:2] == [1_000, 3_000]
    assert max(sizes) == 40_000
    assert {settings["epochs"] for settings, _ in probes} == {1, 3}
    assert max(n_rows for _, n_rows in plan(spec(), available=2_000)) == 2_000


def test_probing_observes_fits_draws_and_evaluations(tables: Tables, profile: Profile, config: GeneratorConfig) -> None:
    found = probe(tables.with_schema(profile.schema), config, Shape.of(profile), n_train=4_800, n_reference=600,
                  seconds=8.0, candidates=["gaussian_copula"])  # fmt: skip
    assert found.failed == {}
    tasks = {seen.task: seen for seen in found.observations}
    assert set(tasks) == {"fit", "sample", "evaluate"}
    assert all(seen.cpu > 0 and seen.wall > 0 and seen.bytes > 0 for seen in found.observations)
    assert (
        max(seen.n_rows for seen in found.observations if seen.task == "fit") == 4_800
    )  # cheap enough to go all the way
    assert 50e6 < found.interpreters["gaussian_copula"] < 2e9
    spent = sum(seen.cpu for seen in found.observations if seen.candidate)
    assert spent < 4.0


def test_a_family_that_cannot_learn_the_table_leaves_its_reason(
    tables: Tables, profile: Profile, config: GeneratorConfig
) -> None:
    wrong = config.model_copy(update={"target": "no such column"})
    found = probe(tables.with_schema(profile.schema), wrong, Shape.of(profile), n_train=4_800, n_reference=600,
                  seconds=0.5, candidates=["bayesian_network"])  # fmt: skip
    assert "no such column" in found.failed["bayesian_network"]
    assert [seen for seen in found.observations if seen.task == "fit"] == []


def test_what_a_killed_probe_had_printed_counts() -> None:
    seen = Observation("fit", "gan", 1_000, 1.0, 2.0, 10**6, {"epochs": 1})
    printed = f"a library's greeting\n{json.dumps({'observation': seen.to_json()})}\n" + '{"observation": {"task": "fi'
    found = read("gan", printed, "", -9)
    assert found.observations == (seen,)
    assert found.failed == {}
    crashed = read("gan", printed, "Traceback\nValueError: could not convert string to float: 'Anna'\n", 1)
    assert crashed.observations == (seen,)
    assert crashed.failed == {"gan": "ValueError"}  # without what may be a value of the data
    assert read("gan", "", "", -11).failed == {"gan": "its process ended with code -11"}


def test_probing_leaves_the_caller_as_it_was(tables: Tables, profile: Profile, config: GeneratorConfig) -> None:
    before = set(Path(str(tables.path)).rglob("*")), "torch" in sys.modules
    probe(tables.with_schema(profile.schema), config, Shape.of(profile), n_train=1_000, n_reference=100, seconds=0.1,
          candidates=[])  # fmt: skip
    assert (set(Path(str(tables.path)).rglob("*")), "torch" in sys.modules) == before
    assert UPath(tables.path).exists()
