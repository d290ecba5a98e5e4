"""The symbolic worker: what it decides, and that nothing makes it hang, grow, or run code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import pytest

from mmpr_pipeline.checking.reading.latex.parser import parse_latex
from mmpr_pipeline.checking.symbolic import client as symbolic
from mmpr_pipeline.checking.symbolic import sympy_worker
from mmpr_pipeline.checking.symbolic.client import SymbolicWorker
from mmpr_pipeline.checking.values.expression import Decision, Expr

SLOW = Expr("sum", (parse_latex("n"), parse_latex("1"), parse_latex("9999"), parse_latex(r"\sin(n^n)+\frac{1}{n^n+1}")))


@pytest.fixture(scope="module")
def worker() -> SymbolicWorker:
    worker = SymbolicWorker(limit_s=5.0)  # Generous: a busy machine must not fail a test of mathematics.
    yield worker  # type: ignore[misc]
    worker.close()


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (r"\sum_{k=1}^{10} k^2", "385"),
        (r"\sum_{k=1}^{n} k", r"\frac{n(n+1)}{2}"),
        (r"\sum_{k=1}^{\infty} \frac{1}{k^2}", r"\frac{\pi^2}{6}"),
        (r"\int_0^1 x^2 dx", r"\frac{1}{3}"),
        (r"\lim_{x\to0} \frac{\sin x}{x}", "1"),
        (r"\lim_{x\to\infty} (1+\frac{1}{x})^x", "e"),
        (r"\prod_{k=1}^{5} k", "120"),
    ],
)
def test_equal(worker: SymbolicWorker, left: str, right: str) -> None:
    assert worker.equal(parse_latex(left), parse_latex(right))[0] is True


@pytest.mark.parametrize(
    ("left", "right"),
    [(r"\sum_{k=1}^{10} k", "54"), (r"\int_0^1 x dx", "1"), (r"\lim_{x\to0} \frac{\sin x}{x}", "2")],
)
def test_unequal(worker: SymbolicWorker, left: str, right: str) -> None:
    assert worker.equal(parse_latex(left), parse_latex(right))[0] is False


def test_long_work_ends_after_its_budget_of_calls() -> None:
    # The budget is of calls: a slow or busy machine must not end the work first.
    worker = SymbolicWorker(limit_s=90.0, patience_s=60.0, wall_s=240.0)
    assert worker.equal(SLOW, parse_latex("7")) == (None, "over_budget")
    assert worker.restarts == 1
    worker.close()


def work(calls: int) -> int:
    return sum(len(str(number)) for number in range(calls) if abs(number) >= 0 and repeat(number))


def repeat(number: int) -> bool:
    return number >= 0


def swallow_it_twice() -> None:
    with suppress(BaseException):
        work(1_000)
    with suppress(BaseException):
        spin()
    spin()


def spin() -> None:
    """A minute of work that calls nothing that is counted."""
    ends = time.process_time() + 60.0
    while time.process_time() < ends:
        pass


def test_an_end_of_the_budget_that_is_swallowed_comes_again() -> None:
    """sympy holds bare excepts; work that dropped the exception ran on until its patience was over."""
    before = signal.signal(signal.SIGPROF, sympy_worker.give_up)
    try:
        with pytest.raises(sympy_worker.OverBudget), sympy_worker.budget(100), suppress(BaseException):
            work(1_000)
        started = time.process_time()
        with pytest.raises(sympy_worker.OverBudget), sympy_worker.budget(100):
            swallow_it_twice()
        assert time.process_time() - started < 30.0
        with sympy_worker.budget(10_000):
            assert work(1_000) > 0
    finally:
        signal.signal(signal.SIGPROF, before)


CALLS = 9
"""Of the function below: its own, a closed generator's start, the other's start and two resumptions, two of `repeat`;
and two of the block's end. No closing of a generator, no comprehension."""


def work_of_every_kind() -> list[int]:
    first = next(number for number in (1, 2) if number)
    return [
        first,
        *(number for number in (1, 2)),
        *[int(repeat(number)) for number in {abs(number) for number in (1, 2)}],
    ]


def test_every_python_counts_the_same_calls() -> None:
    with sympy_worker.budget(CALLS):
        work_of_every_kind()
    with pytest.raises(sympy_worker.OverBudget), sympy_worker.budget(CALLS - 1):
        work_of_every_kind()


FIRST = """
import sympy_worker
sympy_worker.MAX_CALLS = 150_000
sympy_worker.prepare()
k = ["sym", "k", []]
term = ["div", None, [["num", [1, 1], []], ["fact", None, [k]]]]
series = ["sum", None, [k, ["num", [1, 1], []], ["const", "inf", []], term]]
print(sympy_worker.answer(sympy_worker.json.dumps([series, ["num", [1, 1], []]]).encode(), 60.0))
"""


def test_the_first_comparison_does_not_pay_for_the_tables_of_sympy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIRST],
        cwd=Path(sympy_worker.__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "(False, 'sympy_value')"


HARD = [
    (r"\sum_{k=1}^{\infty} \frac{1}{k^2}", r"\frac{\pi^2}{6}"),
    (r"\int_0^{\infty} e^{-x} dx", "1"),
    (r"\int_0^1 x\ln(1+x) dx", r"\frac{1}{4}"),
    (r"\int_0^{\pi/2} \sin^2 x dx", r"\frac{\pi}{4}"),
    (r"\int_0^1 \frac{1}{1+x^2} dx", "1"),
]


@pytest.mark.campaign
def test_busy_processes_change_no_verdict() -> None:
    """The budget of calls decides. The limits are wide: some sandboxes count the wait for a processor as its use."""

    def verdicts() -> list[Decision]:
        worker = SymbolicWorker(limit_s=90.0, patience_s=60.0, wall_s=240.0)
        try:
            found = [worker.equal(parse_latex(left), parse_latex(right)) for left, right in HARD]
            return [*found, worker.equal(SLOW, parse_latex("7"))]
        finally:
            worker.close()

    idle = verdicts()
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        assert verdicts() == idle
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert [verdict for verdict, _ in idle] == [True, True, True, True, False, None]


def test_the_order_of_comparisons_changes_no_verdict() -> None:
    worker = SymbolicWorker()
    trees = [(parse_latex(left), parse_latex(right)) for left, right in HARD]
    forth = [worker.equal(*pair) for pair in trees]
    assert [worker.equal(*pair) for pair in reversed(trees)] == forth[::-1]
    worker.close()


def test_a_worker_that_takes_too_long_is_killed_and_costs_one_verdict() -> None:
    worker = SymbolicWorker(limit_s=0.15, patience_s=60.0)
    worker.equal(parse_latex("1"), parse_latex("1"))
    start = time.monotonic()
    assert worker.equal(SLOW, parse_latex("7")) == (None, "timeout")
    assert time.monotonic() - start < 60.0, "it was waited for as if it were starting"
    assert worker.restarts >= 2
    worker.limit_s = 5.0  # The next one is there already.
    assert worker.equal(parse_latex("6"), parse_latex("6"))[0] is True
    worker.close()


def test_memory_is_capped() -> None:
    worker = SymbolicWorker(limit_s=10.0)
    worker.equal(parse_latex("1"), parse_latex("1"))
    process = worker._process
    assert process is not None
    with open(f"/proc/{process.pid}/limits") as limits:
        line = next(line for line in limits if line.startswith("Max address space"))
    assert int(line.split()[3]) <= 512 * 1024 * 1024
    worker.close()


def test_a_tree_that_the_worker_does_not_build_is_in_doubt(worker: SymbolicWorker) -> None:
    verdict, rule = worker.equal(Expr("unknown"), parse_latex("1"))
    assert verdict is None
    assert rule.startswith("sympy_unsupported")


def test_many_threads_share_one_worker(worker: SymbolicWorker) -> None:
    tree, golds = parse_latex(r"\sum_{k=1}^{4} k"), [parse_latex(str(value)) for value in (10, 11)]
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda index: worker.equal(tree, golds[index % 2])[0], range(24)))
    assert verdicts == [index % 2 == 0 for index in range(24)]


def _in_child(queue: object) -> None:
    queue.put((symbolic.equal(parse_latex(r"\sum_{k=1}^{4} k"), parse_latex("10"))[0], symbolic._shared._process.pid))  # type: ignore[attr-defined,union-attr]
    symbolic.close()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_process_has_a_worker_of_its_own(method: str) -> None:
    assert symbolic.equal(parse_latex(r"\sum_{k=1}^{4} k"), parse_latex("10"))[0] is True
    own = symbolic._shared._process
    assert own is not None
    context = get_context(method)
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue,))  # type: ignore[attr-defined]
    child.start()
    verdict, pid = queue.get(timeout=60)
    child.join(60)
    assert verdict is True
    assert pid != own.pid
    assert own.poll() is None  # The parent's worker lives on,
    assert symbolic.equal(parse_latex(r"\sum_{k=1}^{4} k"), parse_latex("11"))[0] is False  # and still answers.


def test_a_fork_while_another_thread_compares_does_not_deadlock() -> None:
    holding = threading.Thread(target=symbolic.equal, args=(SLOW, parse_latex("7")))
    holding.start()
    time.sleep(0.05)
    pid = os.fork()
    if pid == 0:
        verdict = symbolic.equal(parse_latex(r"\sum_{k=1}^{4} k"), parse_latex("10"))[0]
        symbolic.close()
        os._exit(0 if verdict else 1)
    holding.join()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_worker_ends_with_its_parent() -> None:
    worker = SymbolicWorker()
    worker.equal(parse_latex("1"), parse_latex("1"))
    process = worker._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()  # What the kernel does when the parent dies.
    assert process.wait(timeout=20) == 0


def test_a_worker_that_cannot_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    assert SymbolicWorker().equal(parse_latex("1"), parse_latex("1")) == (None, "symbolic_worker_did_not_start")
