"""`python -m tests.chaos.readers`: damage to what is read, and to runs that go on: training, publishing, exporting and
re-pairing over a damaged dataset; a killed training run whose checkpoints, reference columns or settings are damaged.

Outcomes as in `tests.chaos.damage`: what is written is, to the byte, what comes of an undamaged dataset (of a training
run: every figure of its last steps), or the reader says what is wrong and what to do. Where it says to remove a
checkpoint, that is done, and the run must then come out the same.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chaos.damage import damage, files_below, main
from tests.chaos.inline import Inline
from tests.hub.server import HubServer

KILLED_AFTER = 4
TIMES = {"seconds", "tokens_per_second", "pairs_per_second", "mfu", "memory_gib"}


class States:
    """A dataset, a training run that was killed, and what each reader makes of the undamaged ones."""

    def __init__(self, folder: Path) -> None:
        import torch

        from mmpr_pipeline.training.run.loop import train
        from tests.pipeline.made import make_source
        from tests.training import made

        torch.set_num_threads(1)
        os.environ["MMPR_CACHE"] = str(folder / "cache")
        self._folder = folder
        source = make_source(folder / "source", questions=9, open_ended=2)
        settings = {"sources": [str(source)], "out": str(folder / "data"), "shards": 3, "engine.name": "scripted"}
        settings |= {"sampling.samples": 4, "pairing.max_pairs": 2, "screening.decontaminate": False}
        asyncio.run(Inline(settings).run())
        self._model = made.model_folder(folder / "model")
        train(made.settings(self._model, folder / "data", folder / "whole", epochs=2, max_steps=7))
        self._metrics = last_metrics(folder / "whole")
        killed = made.settings(self._model, folder / "data", folder / "run", epochs=2, max_steps=7)
        (folder / "run.settings.json").write_text(killed.model_dump_json())
        worker = [sys.executable, "-m", "tests.training.run.loop_worker", str(folder / "run.settings.json")]
        subprocess.run([*worker, "--kill-after", str(KILLED_AFTER)], capture_output=True, check=False)
        assert last_metrics(folder / "run") == {}, "it was killed"
        self._readers: dict[str, Callable[[Path], Any]] = {
            "publish": self._published,
            "export": self._exported,
            "re-pair": self._repaired,
        }
        self._expected = {name: read(folder / "data") for name, read in self._readers.items()}

    def attack(self, number: int) -> dict[str, Any]:
        """One attack and what came of it."""
        draw = random.Random(f"readers {number}")
        reader = draw.choice(["train", "train", *self._readers])
        with tempfile.TemporaryDirectory(dir=self._folder) as place:
            data, run = Path(place) / "data", Path(place) / "run"
            shutil.copytree(self._folder / "data", data)
            shutil.copytree(self._folder / "run", run)
            root = run if reader == "train" and draw.random() < 0.6 else data
            kinds: dict[str, list[Path]] = {}
            for path in files_below(root):
                kinds.setdefault(path.relative_to(root).parts[0], []).append(path)
            target = draw.choice(kinds[draw.choice(sorted(kinds))])
            told = {"attack": number, "state": reader, "file": target.relative_to(place).as_posix()}
            told["damage"] = damage(target, root, draw)
            return {**told, **self._outcome(reader, data, run)}

    def _outcome(self, reader: str, data: Path, run: Path) -> dict[str, str]:
        from mmpr_pipeline.core.errors import MmprError

        said = ""
        try:
            if reader == "train":
                found, said = self._trained(data, run)
                same = found == self._metrics
            else:
                same = self._readers[reader](data) == self._expected[reader]
        except MmprError as error:
            return {"outcome": "named" if error.remedy else "raw", "said": str(error)}
        except Exception as error:
            return {"outcome": "raw", "said": repr(error)}
        return {"outcome": "silent" if not same else "named" if said else "same", "said": said}

    def _trained(self, data: Path, run: Path) -> tuple[Any, str]:
        """The last steps of a run that goes on; and what it said before a checkpoint was removed, as it told."""
        from mmpr_pipeline.core.errors import StoreError
        from mmpr_pipeline.training.run.loop import train
        from tests.training import made

        settings = made.settings(self._model, data, run, epochs=2, max_steps=7)
        try:
            train(settings, resume=True)
            return last_metrics(run), ""
        except StoreError as error:
            named = re.search(r"The checkpoint (\S+) cannot be read", str(error))
            if named is None:
                raise
            shutil.rmtree(named[1])
            train(settings, resume=True)
            return last_metrics(run), str(error)

    def _published(self, data: Path) -> dict[str, bytes]:
        from huggingface_hub import constants

        from mmpr_pipeline.dataset.publish.run import publish

        server = HubServer()
        server.tokens = {"hf_test": "write"}
        constants.HF_HUB_DISABLE_XET = True
        os.environ.update({"HF_ENDPOINT": server.endpoint, "HF_TOKEN": "hf_test"})
        os.environ.pop("HF_HUB_OFFLINE", None)
        try:
            publish(data, "me/pairs")
            return published(server)
        finally:
            server.close()

    def _exported(self, data: Path) -> dict[str, bytes]:
        from mmpr_pipeline.dataset.export import export

        with tempfile.TemporaryDirectory(dir=self._folder) as place:
            export(data, "internvl", Path(place) / "exported")
            return {p.relative_to(place).as_posix(): p.read_bytes() for p in files_below(Path(place))}

    def _repaired(self, data: Path) -> dict[str, bytes]:
        from mmpr_pipeline.pipeline.output import claim_output, finish
        from mmpr_pipeline.pipeline.plans.from_rollouts import make_rebuild_plan
        from mmpr_pipeline.pipeline.workers.shard import work_shard
        from mmpr_pipeline.storage import open_store
        from tests.pipeline.made import files_of

        with tempfile.TemporaryDirectory(dir=self._folder) as place:
            plan = make_rebuild_plan(str(data), {"out": f"{place}/out", "pairing.max_pairs": 1})
            claim_output(open_store(plan.config.out), plan)

            async def shards() -> None:
                for shard in range(plan.config.shards):
                    await work_shard(plan, shard, None, lambda tally: None)

            asyncio.run(shards())
            finish(open_store(plan.config.out), plan, {"shards": plan.config.shards})
            return files_of(Path(place) / "out")


def published(server: HubServer) -> dict[str, bytes]:
    """The files of the data set on a test Hub, without that Hub's address."""
    blobs = server.repositories["me/pairs"].head().files
    files = {name: blob.data.replace(server.endpoint.encode(), b"HUB") for name, blob in blobs.items()}
    note = json.loads(files["mmpr.json"])
    return {**files, "mmpr.json": json.dumps({**note, "card": ""}).encode()}  # the card's hash covers the address


def last_metrics(run: Path) -> dict[int, dict[str, Any]]:
    """Figures of each step after the one at which the run was killed, without those of the machine."""
    from mmpr_pipeline.training.run.run_folder import read_lines

    lines = {line["step"]: line for line in read_lines(run / "metrics.jsonl")}
    return {
        step: {name: value for name, value in line.items() if name not in TIMES}
        for step, line in lines.items()
        if step > KILLED_AFTER
    }


if __name__ == "__main__":
    sys.exit(main(States, "tests.chaos.readers"))
