"""The compiled search and its twin in NumPy say the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazy_pipeline import compiled
from hazy_pipeline.synthesizers.bayesian_network.belief import MAX_LIFTED_DIGITS, Belief
from hazy_pipeline.synthesizers.bayesian_network.bins import Hierarchy
from hazy_pipeline.synthesizers.bayesian_network.information import LIFT_STRENGTH
from hazy_pipeline.synthesizers.bayesian_network.orders import find_structure
from hazy_pipeline.synthesizers.bayesian_network.structure import Rows

pytestmark = pytest.mark.skipif(compiled.search is None, reason="installed without a C compiler")


def both(group, n_groups, digit, n_digits, min_rows):
    work = compiled.search.Workspace(len(group))
    narrow = group.astype(np.int32), n_groups, digit.astype(np.int32), n_digits
    return (
        Belief.start(group, n_groups, digit, n_digits, min_rows),
        compiled.search.Belief.start(work, *narrow, min_rows, LIFT_STRENGTH, n_digits <= MAX_LIFTED_DIGITS),
    )


@st.composite
def columns(draw):
    """Columns of few or many groups, some of which go together; (groups, their number) each."""
    n_rows = draw(st.integers(1, 400))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    hidden = rng.integers(0, 4, n_rows)
    sizes = draw(st.lists(st.sampled_from([1, 2, 3, 7, 40, 300]), min_size=5, max_size=5))
    return [((hidden * draw(st.integers(0, 3)) + rng.integers(0, size, n_rows)) % size, size) for size in sizes]


@settings(max_examples=150, deadline=None)
@given(columns(), st.sampled_from([1, 2, 10]), st.lists(st.booleans(), min_size=3, max_size=3),
       st.lists(st.sampled_from([0.5, 8.0, 512.0]), min_size=3, max_size=3))  # fmt: skip
def test_growing_contexts(given_columns, min_rows, lifts, strengths):
    (group, n_groups), (digit, n_digits), *others = given_columns
    twin, belief = both(group, n_groups, digit, n_digits, min_rows)
    for (column, size), lifted, strength in zip(others, lifts, strengths, strict=True):
        narrow = column.astype(np.uint16)
        assert belief.score == pytest.approx(twin.score, rel=1e-9, abs=1e-12)
        coarse = column // 2, (size + 1) // 2
        by_twin, _ = twin.screened([[coarse, (column, size)], [], [(column, size)]], strength, 2)
        readings = [[(coarse[0].astype(np.uint16), coarse[1]), (narrow, size)], [], [(narrow, size)]]
        found, best = belief.screened(readings, strength, 2)
        scores = [score for of_column in found for score in of_column]
        kept = [found[number][level] for number, level in best]
        assert sorted(kept) == sorted(scores)[-2:]
        for (number, level), sight in best.items():
            assert sight.score(strength) == found[number][level]
        for scores, expected in zip(found, by_twin, strict=True):
            assert scores == pytest.approx(expected, rel=1e-9, abs=1e-12)
        expected, sight = twin.seen_in(column, size), belief.seen_in(narrow, size)
        assert belief.can_be_lifted == twin.can_be_lifted == (n_digits <= MAX_LIFTED_DIGITS)
        for s in (0.5, 8.0, 512.0):
            assert sight.score(s) == pytest.approx(expected.score(s), rel=1e-9, abs=1e-12)
            if belief.can_be_lifted:
                assert sight.score(s, True) == pytest.approx(expected.score(s, True), rel=1e-9, abs=1e-12)
        lifted = lifted and belief.can_be_lifted
        for start in range(3):
            rising = np.array([0.5, 8.0, 512.0])
            score, best = sight.uphill(rising, start, np.nan, lifted)
            assert (score, best) == (pytest.approx(sight.score(rising[best], lifted), rel=1e-9, abs=1e-12), best)
            assert score == pytest.approx(expected.uphill(rising, start, np.nan, lifted)[0], rel=1e-9, abs=1e-12)
        twin, belief = expected.believed(strength, lifted), sight.believed(strength, lifted)
    assert belief.score == pytest.approx(twin.score, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("structure", ["greedy", "chow_liu"])
def test_the_same_structure(structure, monkeypatch):
    rng = np.random.default_rng(0)
    hidden = rng.integers(0, 60, 6_000)
    states = [(hidden * rng.integers(1, 3) + rng.geometric(0.1, len(hidden))) % 60 for _ in range(4)]
    states += [states[0] // 5 + (states[1] > 30), (states[2] + states[3]) % 7]
    two_levels = Hierarchy((np.arange(60) // 5,), 60)
    rows = Rows(states, [two_levels] * 4 + [Hierarchy((), 13), Hierarchy((), 7)])
    found = find_structure(rows, structure=structure, max_parents=3, min_rows=10)
    monkeypatch.setattr(compiled, "search", None)
    assert find_structure(rows, structure=structure, max_parents=3, min_rows=10) == found
    assert max(len(family.steps) for family in found) >= 2
    if structure == "greedy":
        assert any(step.lifted for family in found for step in family.steps)
