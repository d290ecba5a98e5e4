"""The most bytes that torch's CPU allocator had handed out at once, and what for: no noise, no other libraries' memory.

Resident memory also has imports, threads' scratch space and what malloc kept; two systems differ in those for reasons
that are not theirs. The profiler reports every block that the allocator hands out and takes back, with the operator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

MB = 1 << 20
HEAD_COLUMNS = 32768  # of the buffer that TRL's output layer takes, whatever the vocabulary
Block = tuple[int, int, int, tuple[str, ...]]  # time, address, size (negative: given back), operators around it


def profiled(run: Callable[[], Any], vocabulary: int) -> tuple[Any, dict[str, float]]:
    """What `run` gives; and MB at the peak, by kind."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = run()
    recorded: Any = profiler.profiler
    blocks = [b for root in recorded.kineto_results.experimental_event_tree() for b in _blocks(root, ())]
    return result, peak(sorted(blocks, key=lambda block: block[0]), vocabulary)


def _blocks(event: Any, around: tuple[str, ...]) -> Iterator[Block]:
    if event.tag.name == "Allocation":
        fields = event.extra_fields
        yield event.start_time_ns, fields.ptr, fields.alloc_size, around
    for child in event.children:
        yield from _blocks(child, (*around, event.name))


def peak(blocks: list[Block], vocabulary: int) -> dict[str, float]:
    """MB alive at the moment of the most: `total`, and by kind of `kind_of`."""
    most, at, now = 0.0, 0, 0.0
    alive: dict[int, tuple[float, str]] = {}
    for number, block in enumerate(blocks):
        now += _change(alive, block, vocabulary)
        if now > most:
            most, at = now, number
    alive = {}
    for block in blocks[: at + 1]:
        _change(alive, block, vocabulary)
    kinds: Counter[str] = Counter()
    for size, kind in alive.values():
        kinds[kind] += size / MB  # type: ignore[assignment]
    return {"total": most / MB, **kinds}


def _change(alive: dict[int, tuple[float, str]], block: Block, vocabulary: int) -> float:
    _, address, size, around = block
    if size < 0:
        return -alive.pop(address, (0.0, ""))[0]
    # TRL's buffer of 32,768 columns is used up to the vocabulary: what no-one touched is not held against it.
    head = around[-1:] == ("aten::empty",) and any(name.startswith("ChunkedLogProbFunction") for name in around)
    counted = size * min(1.0, vocabulary / HEAD_COLUMNS) if head and size > 64 * MB else size
    alive[address] = (counted, kind_of(around))
    return counted


def kind_of(around: tuple[str, ...]) -> str:
    """What a block is for, by the operators around its allocation."""
    if any(name.startswith("Optimizer.step") for name in around):
        return "Adam"
    if any(name.startswith("autograd::engine") for name in around):
        return "backward"
    if "set-up" in around:
        return "weights"
    if any(name.startswith("enumerate(DataLoader)") for name in around) or "batch" in around:
        return "tiles"
    return "forward"
