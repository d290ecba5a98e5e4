"""Ranks without a launcher's start: forked from a server that has imported everything once, killed as any process."""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.ports import free_port

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        "tests.training.run.flow_worker",
        "tests.training.run.loop_worker",
        "torch.distributed.checkpoint.staging",
        "torch.distributed.fsdp",
        "pandas",
        "peft",
        "transformers.models.auto.processing_auto",
        "transformers.models.internvl.modeling_internvl",
        "transformers.models.qwen2.modeling_qwen2",
    ]
)
TRAIN = "tests.training.run.loop_worker"


class Forked:
    """A process that runs `main(arguments)` of a module in this environment, with its output in a file; it is asked
    and ended as a `subprocess.Popen` is."""

    def __init__(self, module: str, arguments: Sequence[str], environment: Mapping[str, str], output: Path) -> None:
        given = (module, list(arguments), {**environment, "OMP_NUM_THREADS": "1"}, str(output))
        self._process = SERVER.Process(target=_run, args=given, daemon=True)
        self._process.start()

    def poll(self) -> int | None:
        """Its exit code, -9 for a killed one; None while it runs."""
        return self._process.exitcode

    def wait(self, seconds: float | None = None) -> int:
        """Its exit code, once it has ended; one that has not by then is killed."""
        self._process.join(seconds)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        return int(self._process.exitcode or 0)

    def send_signal(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)


def start_ranks(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    count: int = 2,
    module: str = TRAIN,
    output: Path = Path(os.devnull),
) -> list[Forked]:
    """`main` of a module with these arguments, begun in `count` ranks."""
    shared = {**environment, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ranks = []
    for number in range(count):
        own = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        ranks.append(Forked(module, arguments, {**shared, **{name: str(value) for name, value in own.items()}}, output))
    return ranks


def run_ranks(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    count: int = 2,
    seconds: float = 120,
    module: str = TRAIN,
    output: Path = Path(os.devnull),
) -> list[int]:
    """`main` of a module with these arguments in `count` ranks; their exit codes."""
    ranks = start_ranks(arguments, environment, count, module, output)
    until = time.monotonic() + seconds
    return [rank.wait(max(0.0, until - time.monotonic())) for rank in ranks]


def said_by_ranks(arguments: Sequence[str], module: str = TRAIN, count: int = 2, seconds: float = 250) -> str:
    """What `count` ranks print that run `main` of a module with these arguments; all of them must end well."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output"
        codes = run_ranks(arguments, os.environ, count, seconds, module, output)
        said = output.read_text(errors="replace")
    assert codes == [0] * count, f"{codes}\n{said[-4000:]}"
    return said


def _run(module: str, arguments: list[str], environment: dict[str, str], output: str) -> None:
    os.environ.clear()  # the server's is that of its first caller
    os.environ.update(environment)
    file = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    main = importlib.import_module(module).main
    gc.freeze()  # each run collects garbage before it measures memory: imports are none
    main(arguments)
