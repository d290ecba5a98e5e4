"""Ray for tests: started again where a busy machine was too slow, and nothing of it left in the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from mmpr_pipeline.cluster.session import RAY_STARTS, _read_token_anew, _unobserved


@contextmanager
def local_ray(num_cpus: int = 2, **options: Any) -> Iterator[None]:
    """A Ray of this machine with so many CPUs."""
    import ray

    with ray_environment():
        for tries in range(RAY_STARTS):
            try:
                ray.init(
                    address="local", num_cpus=num_cpus, include_dashboard=False, log_to_driver=False,
                    logging_level="ERROR", **options,
                )  # fmt: skip
                break
            except Exception:  # its processes were not up within 30 s
                ray.shutdown()
                if tries == RAY_STARTS - 1:
                    raise
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def ray_environment(observed: bool = False) -> Iterator[None]:
    """Puts back what a plain `ray.init` leaves: the mode "token", in the environment and in Ray's own copy of it.

    Nodes that are started in it have neither dashboard nor autoscaler, unless `observed`, and start in less time.
    """
    before = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    try:
        with nullcontext() if observed else _unobserved():
            yield
    finally:
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            del os.environ[name]
        os.environ.update(before)
        _read_token_anew()
