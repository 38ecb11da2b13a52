"""One thread or several: which it is changes no bit, and is settled by what it costs."""

import platform
import subprocess
import sys

import pytest

from tinygrad_seq.fuser.threads import Race


def run_race(race, one, many, calls):
    """So many calls that take `one` or `many` seconds; how many went to several threads."""
    ways = []
    for _ in range(calls):
        ways.append(race.choose())
        race.note(ways[-1], many if ways[-1] else one)
    return sum(ways)


@pytest.mark.parametrize(("one", "many", "several"), [(0.001, 0.0006, True), (0.001, 0.0012, False)])
def test_the_quicker_way_is_kept(one, many, several):
    """Each is tried TRIALS times by turns, then one of them is taken for good."""
    race = Race()
    assert run_race(race, one, many, 3) == 0  # not before it has cost some milliseconds
    assert run_race(race, one, many, 20) >= Race.TRIALS
    assert not race.on
    assert race.choose() is several
    assert run_race(race, one, many, 100) == (100 if several else 0)


def test_what_is_rare_or_small_is_never_tried():
    """Building the second kernel costs more than it could save."""
    assert run_race(Race(), 0.00001, 0.0, 300) == 0


def test_it_is_tried_again():
    """What was quicker once need not stay so."""
    race = Race()
    run_race(race, 0.001, 0.002, 40)
    assert not race.choose()
    assert run_race(race, 0.001, 0.0001, race.again + 50) > Race.TRIALS
    assert race.choose()


def test_what_lost_is_tried_less_and_less():
    """A race costs calls of the slower way."""
    race = Race()
    tried = [run_race(race, 0.001, 0.005, 10_000) for _ in range(4)]
    assert tried[0] > tried[-1]
    assert sum(tried) <= 6 * Race.TRIALS


def test_one_call_that_waits_decides_a_race():
    """Of several threads the mean counts: a wait of milliseconds now and then is what they cost."""
    race = Race()
    while not race.on:
        race.note(False, 0.001)
    for _ in range(Race.TRIALS):
        race.note(False, 0.001)
    for seconds in [0.0005] * (Race.TRIALS - 1) + [0.01]:
        race.note(True, seconds)
    assert not race.on
    assert not race.choose()


def test_several_threads_that_turn_slow_are_left():
    """The product beside it may use its own threads from now on; not one calm call gives them back."""
    race = Race()
    run_race(race, 0.001, 0.0005, 40)
    assert race.choose()
    assert run_race(race, 0.001, 0.005, 200) <= Race.WATCHED
    assert not race.choose()
    assert run_race(race, 0.001, 0.0005, 100) == 0


def test_the_first_call_of_each_way_does_not_count():
    """It builds its kernel."""
    race = Race()
    race.note(False, 3.0)
    assert race.spent == 0.0
    run_race(race, 0.001, 0.0005, 5)
    assert race.choose() is True
    race.note(True, 5.0)
    assert run_race(race, 0.001, 0.0005, 200) > 150


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_arrays_are_warm():
    """The pages of arrays of 1 MB are had from the system once, and not at every use."""
    program = (
        "import numpy as np, resource, tinygrad_seq.engine.tensor\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "a = [np.ones(2**18, np.float32) for _ in range(10)]; del a\n"
        "before = faults()\n"
        "for _ in range(50):\n"
        "    a = [np.ones(2**18, np.float32) for _ in range(10)]\n"
        "    del a\n"
        "print(faults() - before)\n"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(found.stdout) < 256, "without it some 100,000"
