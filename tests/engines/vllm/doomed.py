"""A worker of vLLM's CPU backend that strikes its engine, or itself, in a phase that the environment names."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import torch
from vllm.v1.worker.cpu_worker import CPUWorker

PHASES = ("load", "warm-up", "prefill", "decode")
WAYS = ("engine killed", "worker killed", "hung", "out of memory")
DOOM = "MMPR_TEST_DOOM"
"""phase:way:file: the file is written just before the blow."""


class DoomedWorker(CPUWorker):
    """Both ranks come into a phase together, and only the first one strikes; where they hang, both do."""

    def load_model(self, *args: Any, **options: Any) -> Any:
        self.strike("load")
        return super().load_model(*args, **options)

    def compile_or_warm_up_model(self) -> Any:
        self.strike("warm-up")
        return super().compile_or_warm_up_model()

    def execute_model(self, scheduler_output: Any) -> Any:
        if scheduler_output.total_num_scheduled_tokens:
            self.strike("prefill" if scheduler_output.scheduled_new_reqs else "decode")
        return super().execute_model(scheduler_output)

    def strike(self, phase: str) -> None:
        wanted, way, mark = os.environ[DOOM].split(":")
        if phase != wanted or (self.rank and way != "hung"):
            return
        Path(mark).write_text(phase)
        if way == "engine killed":
            os.kill(os.getppid(), signal.SIGKILL)
        elif way == "worker killed":  # as the kernel does where the machine's memory is full
            os.kill(os.getpid(), signal.SIGKILL)
        elif way == "hung":  # as in native code, where no polite signal is heard
            os.kill(os.getpid(), signal.SIGSTOP)
        else:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
