"""How many threads a program runs on, told by times that are made up."""

from __future__ import annotations

from tracec.runtime.threads import ThreadChoice, Threads

#: Seconds of a call on both threads, of one while another program keeps a core busy, and on one thread.
BOTH, KEPT_WAITING, ONE = 0.005, 0.080, 0.010


class Machine:
    """Two cores, one of which another program may be at."""

    def __init__(self) -> None:
        self.choice = ThreadChoice(2)

    def run(self, calls: int, *, busy: bool = False, both: float | None = None) -> list[int]:
        """Threads that each of so many calls ran on."""
        found = []
        for _ in range(calls):
            threads = self.choice.next()
            seconds = both if both is not None else KEPT_WAITING if busy else BOTH
            self.choice.note(threads, ONE if threads == 1 else seconds)
            found.append(threads)
        return found


def test_all_threads_are_taken_where_nothing_else_runs():
    machine = Machine()
    machine.run(10)
    assert machine.run(1000).count(1) <= 10


def test_one_thread_is_taken_where_another_program_runs():
    machine = Machine()
    machine.run(10, busy=True)
    found = machine.run(2000, busy=True)
    seconds = found.count(1) * ONE + found.count(2) * KEPT_WAITING
    assert seconds < 1.1 * len(found) * ONE


def test_a_call_that_takes_long_is_the_last_on_all_threads():
    machine = Machine()
    machine.run(50)
    assert machine.run(3, busy=True) == [2, 1, 1]


def test_all_threads_are_taken_again_soon_after_a_short_disturbance():
    machine = Machine()
    machine.run(50)
    machine.run(3, busy=True)
    machine.run(60)
    assert machine.run(90).count(1) <= 1


def test_all_threads_are_taken_again_in_twice_as_many_calls_as_a_disturbance_lasted():
    for disturbed in (60, 300, 3000):
        machine = Machine()
        machine.run(50)
        machine.run(disturbed, busy=True)
        machine.run(2 * disturbed)
        assert machine.run(100).count(1) <= 2


def test_all_threads_stay_where_few_calls_take_a_little_longer():
    machine = Machine()
    machine.run(11)
    found = [n for _ in range(20) for n in (*machine.run(5), *machine.run(1, both=2 * ONE))]
    assert found.count(1) <= 2


def test_one_thread_stays_where_all_are_as_fast():
    machine = Machine()
    machine.run(50, both=1.1 * ONE)
    assert machine.run(200, both=0.95 * ONE).count(2) <= 20


def test_several_threads_may_ask_before_times_are_noted():
    choice = ThreadChoice(4)
    asked = [choice.next() for _ in range(20)]
    for threads in asked:
        choice.note(threads, 0.01 if threads == 1 else 0.004)
    assert choice.next() in (1, 4)
    assert [choice.next() for _ in range(3)] == [4] * 3


class Library:
    """A program as it is loaded, of a name."""

    def __init__(self, name: str, threads: int = 2) -> None:
        self._name = name
        self.omp_set_num_threads = self.omp_get_max_threads = Function(threads)


class Function:
    def __init__(self, result: int) -> None:
        self.result = result

    def __call__(self) -> int:
        return self.result


def test_the_same_code_for_other_sizes_makes_one_choice():
    first, scale = Threads(Library("one")).choice(1000)
    assert scale == 1
    again, scale = Threads(Library("one")).choice(250)
    assert again is first
    assert scale == 4  # a call of a quarter of the work is taken for one of four times its time
    assert Threads(Library("other")).choice(1000)[0] is not first
    assert Threads(Library("one", 4)).choice(1000)[0] is not first
    assert Threads(Library("one", 1)).choice(1000) is None
