"""A server of a model for as long as another program needs it: vLLM's own, in processes of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmpr_pipeline.core.errors import EngineError
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.models.resolve import resolve_model

START_SECONDS = 900
_LAST_LINES = 20


@contextmanager
def served(settings: EngineSettings, log: Path) -> Iterator[str]:
    """The address of a server of the model, as http://host:port/v1; an openai engine's server is taken as it is.

    The server's name of the model is `settings.model`. Raises EngineError where it does not come up.
    """
    if settings.name == "openai" and settings.base_url:
        yield settings.base_url
        return
    # Bound, not listening: the server, which sets SO_REUSEADDR too, can bind the port, and nobody else is given it.
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    port = held.getsockname()[1]
    with held, log.open("w") as output:
        own = {"VLLM_NO_USAGE_STATS": "1"}
        if not _has_gpu():
            own |= {"VLLM_CPU_KVCACHE_SPACE": f"{settings.kv_cache_gib:g}", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        process = subprocess.Popen(
            server_command(settings, port), stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **own}
        )
        try:
            address = f"http://127.0.0.1:{port}/v1"
            _wait(address, process, log)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def server_command(settings: EngineSettings, port: int) -> list[str]:
    """The command of vLLM's server of a model at a port, as the engine of this package would load it."""
    model = resolve_model(settings.model, settings.revision)
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model.path)]
    command += ["--served-model-name", settings.model, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--tensor-parallel-size", str(settings.tensor_parallel)]
    command += ["--max-num-seqs", str(settings.max_num_seqs)] if settings.max_num_seqs else []
    command += ["--max-model-len", str(settings.max_model_len)] if settings.max_model_len else []
    command += ["--trust-remote-code"] if settings.trust_remote_code else []
    command += ["--gpu-memory-utilization", str(settings.gpu_memory)]
    if not _has_gpu():  # vLLM's CPU build: as the engine of this package is loaded there
        command += ["--dtype", "float32", "--enforce-eager", "--block-size", "32", "--no-enable-chunked-prefill"]
        command += ["--max-num-batched-tokens", "8192"]
    elif settings.dtype != "auto":
        command += ["--dtype", settings.dtype]
    return command


def _has_gpu() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*"))


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{address}/models", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if process.poll() is not None or time.monotonic() > deadline:
                last = "\n    ".join(log.read_text("utf-8", errors="replace").splitlines()[-_LAST_LINES:])
                raise EngineError(f"The model's server did not start:\n    {last}", remedy=f"See {log}.") from None
            time.sleep(0.5)
