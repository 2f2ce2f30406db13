"""Laws have the right shape, calibration finds known constants, and predictions come near what really happens."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from upath import UPath

from hazy_pipeline.estimate import laws
from hazy_pipeline.estimate.calibrate import Calibration, Seen, calibrate
from hazy_pipeline.estimate.estimator import Estimator, duration, memory, within
from hazy_pipeline.estimate.measure import taken_by
from hazy_pipeline.estimate.model import Cost, Machine, Observation, Shape
from hazy_pipeline.profile.model import Profile
from hazy_pipeline.search_spaces import SPACES, Hyperparameters
from hazy_pipeline.synthesizers import synthesizer_class
from hazy_pipeline.tables import Tables, write_frames

MACHINE = Machine(2, 8 << 30, False)
ADULT = Shape(24_421, 5, (9, 16, 16, 7, 15, 6, 5, 2, 42, 2), 0, 2)


def first(candidate: str) -> Hyperparameters:
    return {name: limit.first for name, limit in SPACES[candidate].limits.items()}


def seconds(candidate: str, n_rows: int, shape: Shape = ADULT, **changes: float | str) -> float:
    return Estimator(shape, MACHINE).predict(candidate, {**first(candidate), **changes}, n_rows).cpu_seconds


def test_a_shape_holds_counts_alone(shape: Shape) -> None:
    assert (shape.n_rows, shape.continuous, shape.states, shape.other, shape.target_classes) == (
        6_000,
        3,
        (6, 40, 2),
        0,
        2,
    )
    assert Shape.from_json(json.loads(json.dumps(vars(shape)))) == shape


@pytest.mark.parametrize("candidate", SPACES)
def test_more_rows_never_cost_less(candidate: str) -> None:
    costs = [seconds(candidate, n) for n in (500, 5_000, 50_000, 500_000, 5_000_000)]
    assert costs == sorted(costs)
    assert costs[-1] > 20 * costs[0]


@pytest.mark.parametrize(
    ("candidate", "parameter", "low", "high"),
    [
        ("bayesian_network", "max_parents", 1, 4),
        ("bayesian_network", "n_bins", 10, 200),
        ("gaussian_copula", "marginals", "empirical", "parametric"),
        ("gan", "epochs", 10, 100),
        ("gan", "width", 64, 512),
        ("gan", "depth", 1, 4),
    ],
)
def test_what_is_known_to_cost_more_is_predicted_to(candidate: str, parameter: str, low: int, high: int) -> None:
    assert seconds(candidate, 20_000, **{parameter: high}) > 1.1 * seconds(candidate, 20_000, **{parameter: low})


def test_a_training_by_epochs_is_linear_in_them_and_in_the_rows_beyond_its_least_steps() -> None:
    ten, hundred = (seconds("gan", 100_000, epochs=n) for n in (10, 100))
    assert hundred / ten == pytest.approx(10, rel=0.3)
    assert seconds("gan", 400_000, epochs=100) / hundred == pytest.approx(4, rel=0.2)
    assert laws.gan_steps({"pac": 10, "batch_size": 500}, 3_000) == (25, 500)
    assert laws.gan_steps({"pac": 10, "batch_size": 500}, 30_000) == (60, 500)


def test_the_search_of_the_network_saturates_but_its_counting_does_not() -> None:
    parts = {n: laws.FAMILIES["bayesian_network"].seconds(ADULT, first("bayesian_network"), n) for n in (10**6, 10**7)}
    assert parts[10**7]["search"] == pytest.approx(parts[10**6]["search"], rel=0.05)
    assert parts[10**7]["rows"] == pytest.approx(10 * parts[10**6]["rows"])


def test_an_unknown_family_is_predicted_by_the_general_law() -> None:
    estimator = Estimator(ADULT, MACHINE)
    assert (
        0
        < estimator.predict("sequential_trees", {}, 1_000).cpu_seconds
        < estimator.predict("sequential_trees", {}, 10**6).cpu_seconds
    )


def test_an_evaluation_stops_growing_with_the_rows_it_judges() -> None:
    estimator = Estimator(ADULT, MACHINE)
    assert estimator.evaluation(10**6, 10**6) == estimator.evaluation(25_000, 25_000) or (
        estimator.evaluation(10**6, 10**6).cpu_seconds == estimator.evaluation(25_000, 25_000).cpu_seconds
    )
    assert estimator.evaluation(20_000, 2_000).cpu_seconds > 2 * estimator.evaluation(2_000, 200).cpu_seconds


# --- calibration ------------------------------------------------------------------------------------------------------


def test_constants_are_recovered_from_observations() -> None:
    truth = {"a": 3.0, "b": 0.5}
    seen = [
        Seen({"a": a, "b": b}, truth["a"] * a + truth["b"] * b, 0.02) for a, b in ((1, 1), (1, 10), (1, 100), (5, 3))
    ]
    found = calibrate(seen)
    assert found.factors == pytest.approx(truth, rel=0.1)


def test_what_was_not_seen_moves_with_the_machine() -> None:
    found = calibrate([Seen({name: 1.0}, 4.0, 0.05) for name in "abcd"])
    assert found.speed == pytest.approx(4.0, rel=0.35)
    assert found({"never seen": 2.0}) == pytest.approx(2 * found.speed)
    assert calibrate([]) == Calibration()


def test_one_disturbed_probe_does_not_decide() -> None:
    clean = [Seen({"a": float(n)}, 2.0 * n, 0.1) for n in (1, 2, 4, 8)]
    found = calibrate([*clean, Seen({"a": 8.0}, 160.0, 0.1)])
    assert found({"a": 10.0}) == pytest.approx(20, rel=0.25)


def test_observations_of_one_family_do_not_make_another_dearer_than_the_machine_is() -> None:
    slow = tuple(Observation("fit", "gaussian_copula", n, cpu, cpu, hyperparameters=first("gaussian_copula"))
                 for n, cpu in ((1_000, 1.0), (9_000, 6.0)))  # fmt: skip
    before, after = Estimator(ADULT, MACHINE), Estimator(ADULT, MACHINE, slow)
    assert after.is_measured("gaussian_copula")
    assert not after.is_measured("gan")
    assert after.predict("gaussian_copula", {}, 9_000).cpu_seconds == pytest.approx(6.0, rel=0.3)
    ratio = after.predict("gan", {}, 9_000).cpu_seconds / before.predict("gan", {}, 9_000).cpu_seconds
    assert 1 < ratio < 30  # this machine is slower; by how much is shared evenly among what is not known


# --- real fits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("candidate", ["bayesian_network", "gaussian_copula"])
def test_small_fits_tell_what_a_larger_one_takes(
    candidate: str, tables: Tables, profile: Profile, tmp_path: UPath
) -> None:
    rows = tables.read("sales")
    more = pa.concat_tables([rows] * 4)  # 24,000 rows
    estimator = Estimator(Shape.of(profile, 24_000), MACHINE)

    def fit(n_rows: int) -> float:
        train = write_frames(
            UPath(tmp_path / f"{candidate}-{n_rows}"), profile.schema, {"sales": more.slice(0, n_rows)}
        )
        synthesizer = synthesizer_class(candidate)(profile.schema, target="sold", **first(candidate))
        return taken_by(lambda: synthesizer.fit(train, validation=train))[1].cpu

    fit(300)
    for n_rows in (2_000, 4_000):
        cpu = min(fit(n_rows), fit(n_rows))
        estimator = estimator.with_observations(
            Observation("fit", candidate, n_rows, cpu, cpu, hyperparameters=first(candidate))
        )
    actual = min(fit(24_000), fit(24_000))
    predicted = estimator.predict(candidate, first(candidate), 24_000).cpu_seconds
    assert abs(math.log(predicted / actual)) < math.log(4)


def test_the_peak_of_memory_and_the_seconds_of_a_call_are_measured() -> None:
    def work() -> int:
        block = np.ones(30_000_000)  # 240 MB
        return int(sum((block * i).sum() > 0 for i in range(5)))

    _, before = taken_by(lambda: None)
    found, taken = taken_by(work)
    assert found == 4
    assert taken.peak - before.peak > 200e6
    assert taken.cpu > 0
    assert taken.wall > 0


def test_what_a_call_raises_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        taken_by(lambda: 1 / 0)


# --- values and words -------------------------------------------------------------------------------------------------


def test_an_estimator_is_kept_as_json_and_predicts_the_same() -> None:
    seen = (
        Observation("fit", "gan", 1_000, 2.0, 3.0, 10**8, first("gan")),
        Observation("evaluate", "", 1_000, 0.2, 0.4, 10**7, n_reference=100),
    )
    estimator = Estimator(ADULT, MACHINE, seen, {"gan": 6 * 10**8})
    again = Estimator.from_json(json.loads(json.dumps(estimator.to_json())))
    assert again == estimator
    assert again.trial("gan", {}, 20_000, 2_000) == estimator.trial("gan", {}, 20_000, 2_000)


def test_a_process_that_holds_more_is_measured_from_its_own_interpreter() -> None:
    light, heavy = (Estimator(ADULT, MACHINE, interpreters={"gan": n}) for n in (10**8, 10**9))
    assert heavy.predict("gan", {}, 1_000).bytes - light.predict("gan", {}, 1_000).bytes == 9 * 10**8


def test_wall_clock_follows_what_was_seen_and_a_gpu_counts_by_the_clock() -> None:
    busy = Estimator(
        ADULT,
        MACHINE,
        (Observation("fit", "gaussian_copula", 9_000, 2.0, 6.0, hyperparameters=first("gaussian_copula")),),
    )
    cost = busy.predict("gaussian_copula", {}, 9_000)
    assert cost.seconds == pytest.approx(3 * cost.cpu_seconds)
    on_gpu = Observation("fit", "gan", 9_000, 1.0, 10.0, hyperparameters=first("gan"), gpu=True)
    found = Estimator(ADULT, Machine(2, 8 << 30, True), (on_gpu,)).predict("gan", {}, 9_000)
    assert found.seconds == pytest.approx(10.0, rel=0.3)


def test_a_gpu_that_the_training_did_not_use_is_not_reckoned_with() -> None:
    on_cpu = Observation("fit", "gan", 9_000, 20.0, 20.0, hyperparameters=first("gan"))
    found = Estimator(ADULT, Machine(2, 8 << 30, True), (on_cpu,)).predict("gan", {}, 9_000)
    assert found.cpu_seconds == pytest.approx(20.0, rel=0.3)


def test_generating_is_drawing_and_writing() -> None:
    estimator = Estimator(ADULT, MACHINE)
    drawn, made = estimator.sampling("gan", 10**6), estimator.generation("gan", 10**6)
    assert drawn.seconds < made.seconds < drawn.seconds + 2
    assert made.bytes == drawn.bytes


def test_a_wide_network_takes_longer_to_draw_from() -> None:
    estimator = Estimator(ADULT, MACHINE)
    narrow, first_tried, wide = (estimator.sampling("gan", 10**6, {"width": n}).seconds for n in (32, 64, 512))
    assert narrow < first_tried < wide / 3
    assert estimator.sampling("gan", 10**6).seconds == first_tried
    assert estimator.generation("gan", 10**6, {"width": 512}).seconds > wide


def test_costs_add_up_in_time_and_not_in_memory() -> None:
    assert Cost(1, 2, 30) + Cost(3, 4, 50) == Cost(4, 6, 50)
    assert Cost(1, 2, 30).times(3) == Cost(3, 6, 30)


def test_what_does_not_fit_says_why() -> None:
    cost = Cost(120, 200, 5 * 10**9)
    assert within(cost) == within(cost, seconds=120, bytes=5 * 10**9) == ""
    assert within(cost, bytes=10**9) == "needs about 5.0 GB of memory, and 1.0 GB are allowed"
    assert within(cost, seconds=60) == "takes about 2 min, and 60 s are allowed"


@pytest.mark.parametrize(
    ("given", "said"),
    [(0.2, "under 1 s"), (1.26, "1.3 s"), (42.4, "42 s"), (150, "2.5 min"), (3_000, "50 min"), (36_000, "10 h")],
)
def test_lengths_of_time_are_as_precise_as_an_estimate(given: float, said: str) -> None:
    assert duration(given) == said


def test_bytes_for_people() -> None:
    assert [memory(n) for n in (3e6, 364e6, 2.34e9)] == ["10 MB", "360 MB", "2.3 GB"]
