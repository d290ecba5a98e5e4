"""The bar of every command, at 80 columns and without a terminal, and the time left over uneven courses.

Once the time left is said, it is within a factor of two. `courses/*.json` were recorded on a loaded machine with two
cores, as `[second, done, of, at work]`: what the bar was shown by a build of 192 questions (all at work at once), by
the first 1,457 questions of a long one, by an evaluation whose first answers took 46 of 67 seconds, and by a training
whose last steps were halted.
"""

from __future__ import annotations

import heapq
import io
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from mmpr_pipeline.core import progress as module
from mmpr_pipeline.core.progress import SOON, Pace, ProgressBar, duration, pace, roughly

NOTE = "loss 0.7310  margin +0.412  chosen ahead 71%  grad 1.02  lr 4.9e-06  1,234 tokens/s  11.3 GiB"


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def drawn(bar: ProgressBar, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), record=True, force_terminal=True)
    console.print(bar._line())
    return console.export_text().splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_count_rate_and_time_left_stand_beside_a_bar(clock: Clock, width: int) -> None:
    bar = ProgressBar(Console(file=io.StringIO(), force_terminal=True))
    for step in range(31):
        bar("training, steps", step, 350, note=NOTE)
        clock.now += 2
    clock.now -= 2
    first, second = drawn(bar, width)
    assert "30/350  2.0 s each  about 11 min left" in first
    assert first.count("━") >= 10, "no bar is left"
    assert second.startswith("loss 0.7310  margin")
    assert max(len(first), len(second)) <= width


def test_work_of_unknown_size_has_no_count_and_no_time_left(clock: Clock) -> None:
    bar = ProgressBar(Console(file=io.StringIO(), force_terminal=True))
    bar("starting nano", 0, 0)
    clock.now += 60
    assert "0" not in drawn(bar, 80)[0]
    assert bar.text() == "starting nano"


def test_without_a_terminal_a_line_comes_now_and_then_and_at_the_end(clock: Clock) -> None:
    out = io.StringIO()
    with ProgressBar(Console(file=out, width=60)) as bar:
        for done in range(101):
            bar("shards", done, 100)
            clock.now += 0.5
    lines = out.getvalue().splitlines()
    assert lines[0] == "mmpr: shards  0/100"
    assert lines[-1].startswith("mmpr: shards  100/100")
    assert 4 < len(lines) < 9
    silent = io.StringIO()
    with ProgressBar(Console(file=silent), plain=False) as bar:
        bar("shards", 1, 2)
    assert silent.getvalue() == ""


def test_times_read_well() -> None:
    assert [duration(n) for n in (12, 200, 3900)] == ["12s", "3m20s", "1h05m"]


def test_paces_read_well() -> None:
    assert [pace(rate) for rate in (1500, 1.5, 1 / 4.2, 1 / 90)] == [
        "1,500/s", "1.5/s", "4.2 s each", "1m30s each",
    ]  # fmt: skip


Course = list[tuple[float, int, int, int]]
COURSES_FOLDER = Path(__file__).parent / "courses"
SLOW_STARTS = ("build-of-192", "eval-of-1000")


def recorded(name: str, slower: float = 1.0) -> Course:
    points = json.loads((COURSES_FOLDER / f"{name}.json").read_text())
    return [(second * slower, done, of, at_work) for second, done, of, at_work in points]


def questions(
    of: int,
    together: int,
    seconds: float,
    spread: float,
    start: float = 0.0,
    slow: Callable[[float], float] = lambda _: 1,
) -> Course:
    """`of` questions, `together` at once, each of about `seconds`, after a start that takes `start`."""
    rng = random.Random(1)
    ends: list[float] = []
    begun, course = 0, [(0.0, 0, of, 0)]

    def begin(now: float) -> None:
        heapq.heappush(ends, now + seconds * min(4.0, rng.lognormvariate(0, spread)) * slow(now))

    while begun < min(together, of):
        begin(start)
        begun += 1
    course.append((start, 0, of, begun))
    for done in range(1, of + 1):
        now = heapq.heappop(ends)
        if begun < of:
            begin(now)
            begun += 1
        course.append((now, done, of, len(ends)))
    return course


def steps(of: int, seconds: float, start: float) -> Course:
    return [(start + step * seconds if step else 0.0, step, of, 0) for step in range(of + 1)]


def moments(course: Course) -> Iterator[tuple[float, float | None, float]]:
    """At each second: which it is, what is said to be left, what is."""
    pace, end, at, now = Pace(), course[-1][0], 0, 0.0
    while now < end:
        while at < len(course) and course[at][0] <= now:
            second, done, of, at_work = course[at]
            pace.seen(done, of, second, at_work)
            at += 1
        yield now, pace.left(now), end - now
        now += 1.0


def right(said: float, true: float) -> bool:
    """Within a factor of two; of what is soon done, less than a minute is said."""
    return true / 2 <= said <= 2 * true or (said < SOON and true < 60)


COURSES: dict[str, tuple[Course, float]] = {
    "even": (questions(400, 16, 8, 0.3), 0.8),
    "waves of eight": (questions(200, 8, 3, 0.0), 0.6),
    "an engine that loads, long first answers": (questions(1000, 64, 20, 0.8, start=40), 0.6),
    "the first minute is 20 times slower": (questions(1000, 16, 2, 0.5, slow=lambda now: 20 if now < 60 else 1), 0.4),
    "answers of five minutes, 256 at once": (questions(2000, 256, 300, 0.9, start=60), 0.5),
    "hours, 512 at once": (questions(20000, 512, 60, 0.8, start=100), 0.8),
    "all at once": (questions(192, 192, 15, 0.8, start=10), 0.0),
    "a short training": (steps(34, 2.4, 5), 0.6),
    "a long training": (steps(600, 18, 35), 0.9),
    **{
        f"{name}, {slower:g} times slower": (recorded(name, slower), 0.0)
        for name in SLOW_STARTS
        for slower in (1.0, 10.0)
    },
    "the first 1,457 questions of a build": (recorded("build-first-1457"), 0.7),
    "the same, ten times slower": (recorded("build-first-1457", 10), 0.7),
    "a training until it was halted": (recorded("train-34-steps")[:32], 0.3),
}
"""Each course, and the least share of it in which the time left must be said."""


@pytest.mark.parametrize("name", COURSES)
def test_once_it_is_said_the_time_left_is_within_a_factor_of_two(name: str) -> None:
    course, least = COURSES[name]
    seen = list(moments(course))
    said = [(left, true) for _, left, true in seen if left is not None]
    assert len(said) >= least * len(seen), f"said in {len(said)} of {len(seen)} seconds"
    wrong = [(round(left), round(true)) for left, true in said if not right(left, true)]
    assert len(wrong) <= 0.05 * len(said), f"{len(wrong)} of {len(said)}: said, true {wrong[:10]}"


@pytest.mark.parametrize("name", SLOW_STARTS)
def test_the_pace_since_the_start_would_have_said_many_times_what_was_left(name: str) -> None:
    """What was said before, as an hour where a minute was left: why the pace since the start is none."""
    course = recorded(name, 10)
    second, done, of, _ = next(point for point in course if point[1] >= 0.02 * point[2])
    assert second * (of - done) / done > 10 * (course[-1][0] - second)
    assert not [left for now, left, _ in moments(course) if left is not None and now < 0.9 * course[-1][0]]


def test_where_the_speed_collapses_it_is_taken_back_until_the_new_pace_is_known() -> None:
    at = 100.0
    course = questions(1500, 16, 2, 0.5, slow=lambda now: 10 if now > at else 1)
    after = [(now - at, left, true) for now, left, true in moments(course) if now > at]
    assert any(left is None for since, left, _ in after if since < 20), "never taken back"
    said = [(left, true) for since, left, true in after if since > 20 and left is not None]
    assert len(said) > 0.9 * len(after)
    assert sum(right(*each) for each in said) >= 0.99 * len(said)


def test_in_a_halt_of_a_recorded_training_nothing_is_said() -> None:
    course = recorded("train-34-steps")
    halted, goes_on = course[31][0], course[32][0]
    assert goes_on - halted > 30
    assert not [now for now, left, _ in moments(course) if left is not None and halted + 12 < now < goes_on]


def test_where_nothing_moves_any_more_nothing_is_said() -> None:
    pace = Pace()
    for second in range(100):
        pace.seen(second, 1000, float(second))
    assert pace.left(99.0) == pytest.approx(900, rel=0.05)
    assert pace.left(160.0) is None


def test_work_that_begins_again_and_what_a_stopped_run_had_done_tell_no_pace() -> None:
    pace = Pace()
    pace.seen(500, 1000, 0.0)  # a resumed run finds them done
    for second in range(1, 101):
        pace.seen(500 + second, 1000, float(second))
    assert pace.left(100.0) == pytest.approx(400, rel=0.05)
    pace.seen(10, 1000, 101.0)
    assert pace.left(101.0) is None


def test_many_counts_are_kept_in_little_room() -> None:
    pace = Pace()
    for tenth in range(200_000):
        pace.seen(tenth, 400_000, tenth / 10)
    assert len(pace._points) <= 512
    assert pace.left(20_000.0) == pytest.approx(20_000, rel=0.05)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3, "less than a minute"), (50, "about 1 min"), (130, "about 2 min"), (2_940, "about 50 min"),
        (3_500, "about 1 h"), (5_000, "about 1.5 h"), (36_500, "about 10 h"), (200_000, "about 2 days"),
    ],
)  # fmt: skip
def test_it_is_said_no_more_exactly_than_it_is_known(seconds: float, words: str) -> None:
    assert roughly(seconds) == words
