"""The bar of every command: at 80 columns, and without a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from mmpr_pipeline.core.progress import bar as module
from mmpr_pipeline.core.progress.bar import ProgressBar, pace
from mmpr_pipeline.core.progress.pace import duration

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
