"""TRL's GRPOTrainer on `mmpr export --to rl --format trl`, with our checker as its reward: reward and time a step.

    python bench/grpo.py OUT [--model nano] [--steps 20] [--prompts 4] [--generations 8] [--solve-rate 0.2:0.8]

OUT is a finished build; its questions in that range of solve rates are exported and trained on. Responses are sampled
by transformers, TRL's own way without a server, so the times say only that it runs.
"""

from __future__ import annotations

import argparse
import json
import runpy
import tempfile
from pathlib import Path

from mmpr_pipeline.dataset.export import export
from mmpr_pipeline.models.resolve import resolve_model
from mmpr_pipeline.models.torchvision_cpu import install


def main() -> None:
    """Export, train, print one line a step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--solve-rate", default="0.2:0.8")
    for name, default in (("steps", 20), ("prompts", 4), ("generations", 8), ("tokens", 160)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rate", type=float, default=5e-5)
    given = parser.parse_args()
    install()
    import datasets
    from transformers import AutoProcessor
    from trl import GRPOConfig, GRPOTrainer

    with tempfile.TemporaryDirectory() as place:
        done = export(given.out, "rl", Path(place) / "rl", solve_rate=given.solve_rate, layout="trl")
        print(f"{done.rows} prompts exported, {sum(done.left_out.values())} questions left out: {done.left_out}")
        rows = datasets.load_dataset(
            "parquet", data_files=f"{place}/rl/data/*.parquet", split="train", cache_dir=f"{place}/cache"
        )
        reward = runpy.run_path(f"{place}/rl/reward.py")["reward"]
        model = str(resolve_model(given.model).path)
        config = GRPOConfig(
            output_dir=f"{place}/run", max_steps=given.steps, num_generations=given.generations, seed=0,
            per_device_train_batch_size=given.prompts * given.generations, max_completion_length=given.tokens,
            learning_rate=given.rate, logging_steps=1, report_to=[], save_strategy="no", use_cpu=True, bf16=False,
            gradient_checkpointing=False, disable_tqdm=True, model_init_kwargs={"dtype": "float32"},
        )  # fmt: skip
        trainer = GRPOTrainer(
            model, reward_funcs=[reward], args=config, train_dataset=rows,
            processing_class=AutoProcessor.from_pretrained(model),
        )  # fmt: skip
        trainer.train()
        wanted = ("step", "reward", "reward_std", "loss", "grad_norm", "completions/mean_length", "step_time")
        for entry in trainer.state.log_history:
            if "reward" in entry:
                print(json.dumps({name: round(float(entry[name]), 4) for name in wanted}))


if __name__ == "__main__":
    main()
