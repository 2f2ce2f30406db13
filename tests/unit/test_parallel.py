"""Threads that share work: results in turn, from whoever makes them."""

from threading import Lock, Thread, current_thread
from time import sleep

import pytest

from hazy_pipeline.parallel import Helped


class Work:
    """Makes results, and notes which, where and by which thread."""

    def __init__(self, fails_at: int = -1, seconds: float = 0.0) -> None:
        self.made: list[tuple[int, bool]] = []  # number, whether by the thread that wants it
        self.finished = 0  # numbers below are no longer in use
        self.overwritten: list[int] = []  # numbers whose place was taken again although they were in use
        self._at: dict[int, int] = {}  # by place, the last number made there
        self._wants, self._fails_at, self._seconds, self._lock = current_thread(), fails_at, seconds, Lock()

    def __call__(self, number: int, place: int) -> int:
        with self._lock:
            self.made.append((number, current_thread() is self._wants))
            before = self._at.get(place, -1)
            self._at[place] = number
            self.overwritten += [before] if before >= self.finished else []
        if number == self._fails_at:
            raise RuntimeError(f"number {number}")
        sleep(self._seconds * (number % 3))
        return 10 * number


def test_results_come_in_turn_without_help():
    work = Work()
    with Helped() as helped:
        assert list(helped.results(work, 4)) == [0, 10, 20, 30]
    assert work.made == [(number, True) for number in range(4)]


@pytest.mark.parametrize("slow", ["making", "using", "neither"])
@pytest.mark.parametrize("comes_at", [0, 1, 5, 39])
def test_both_threads_make_the_results_that_are_left(comes_at, slow):
    work, n = Work(seconds=0.002 if slow == "making" else 0.0), 40
    with Helped() as helped:
        helper, found = Thread(target=helped.help), []
        for number, result in enumerate(helped.results(work, n)):
            if number == comes_at:
                helper.start()
                while slow != "neither" and helper.is_alive() and len(work.made) < min(comes_at + 2, n):
                    sleep(0.001)
            found.append(result)
            sleep(0.002 if slow == "using" else 0.0)
            work.finished = number + 1
    helper.join(10)
    assert not helper.is_alive()
    assert found == [10 * number for number in range(n)]
    assert sorted(number for number, _ in work.made) == list(range(n))  # each once
    assert work.overwritten == []
    by_helper = sum(not own for _, own in work.made)
    assert by_helper <= n - 1 - comes_at
    if slow != "neither" and comes_at < n - 2:
        assert by_helper >= (n - comes_at) / (4 if slow == "making" else 1.5)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("fails_at", [1, 4])
def test_an_error_is_raised_where_the_result_is_wanted_at_the_latest(fails_at):
    work, found = Work(fails_at), []
    with Helped() as helped:
        helper = Thread(target=helped.help)

        def take_all() -> None:
            for result in helped.results(work, 6):
                found.append(result)
                if len(found) == 3:
                    helper.start()

        with pytest.raises(RuntimeError, match=f"number {fails_at}"):
            take_all()
    assert found == [0, 10, 20, 30][: len(found)]
    assert min(fails_at, 3) <= len(found) <= fails_at
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
