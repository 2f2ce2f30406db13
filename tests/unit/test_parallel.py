"""Threads that share work: results in turn, from whoever makes them."""

from threading import Event, Thread, current_thread

import pytest

from hazy_pipeline.parallel import Helped


class Work:
    """Makes results, and notes where and by which thread."""

    def __init__(self, fails_at: int = -1) -> None:
        self.made: list[tuple[int, int, bool]] = []  # number, place, whether by the thread that wants it
        self._wants, self._fails_at = current_thread(), fails_at

    def __call__(self, number: int, place: int) -> int:
        self.made.append((number, place, current_thread() is self._wants))
        if number == self._fails_at:
            raise RuntimeError(f"number {number}")
        return 10 * number


def test_results_come_in_turn_without_help():
    work = Work()
    with Helped() as helped:
        assert list(helped.results(work, 4)) == [0, 10, 20, 30]
    assert work.made == [(number, 0, True) for number in range(4)]


@pytest.mark.parametrize("comes_at", range(6))
def test_a_helper_makes_the_results_that_are_left(comes_at):
    work, is_helped = Work(), Event()
    with Helped() as helped:
        helper = Thread(target=helped.help)
        found = []
        for number, result in enumerate(helped.results(work, 6)):
            if number == comes_at:
                helper.start()
                while helper.is_alive() and not helped._is_helped:
                    is_helped.wait(0.001)
            found.append(result)
            in_use = next(place for of, place, _ in work.made if of == number)
            # What is made meanwhile is made elsewhere.
            assert all(place != in_use for of, place, _ in work.made if of == number + 1 and of > comes_at)
        assert found == [0, 10, 20, 30, 40, 50]
    helper.join(10)
    assert not helper.is_alive()
    assert [number for number, _, _ in work.made] == list(range(6))
    assert [own for _, _, own in work.made] == [number <= comes_at for number in range(6)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("fails_at", [1, 4])
def test_an_error_is_raised_where_the_result_is_wanted(fails_at):
    work, found = Work(fails_at), []
    with Helped() as helped:
        helper = Thread(target=helped.help)
        results = helped.results(work, 6)
        for number in range(fails_at):
            found.append(next(results))
            if number == 2:
                helper.start()
        with pytest.raises(RuntimeError, match=f"number {fails_at}"):
            next(results)
    assert found == [10 * number for number in range(fails_at)]
    if fails_at > 2:
        helper.join(10)
        assert not helper.is_alive()


@pytest.mark.parametrize("is_over", [False, True])
def test_a_helper_with_nothing_to_help_goes_home(is_over):
    helped = Helped()
    helper = Thread(target=helped.help)
    with helped:
        if not is_over:
            helper.start()
    if is_over:
        helper.start()
    helper.join(10)
    assert not helper.is_alive()


def test_a_helper_goes_home_when_the_rest_is_not_wanted():
    work = Work()
    helper = None
    with Helped() as helped:
        helper = Thread(target=helped.help)
        helper.start()
        assert next(helped.results(work, 1_000)) == 0
    helper.join(10)
    assert not helper.is_alive()
    assert len(work.made) < 1_000
