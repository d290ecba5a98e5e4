"""Serves checkpoints in vLLM, one after the other; a line of JSON for each: the log-probs of a prompt with an image."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

from mmpr_pipeline.engines.engine import SampleRequest
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.engines.vllm.load import load_engine
from mmpr_pipeline.engines.vllm.prompts import PromptBuilder
from mmpr_pipeline.models.messages import decode_image
from mmpr_pipeline.models.resolve import resolve_model
from tests.dataset.conftest import make_outcome
from tests.records import a_question


def main(folder: str) -> None:
    settings = EngineSettings(
        model=folder, kv_cache_gib=0.05, max_num_seqs=2, max_model_len=1024, trust_remote_code=True, dtype="float32"
    )
    engine = load_engine(settings, resolve_model(settings.model, settings.revision))
    question = a_question(images=make_outcome(6).images)
    request = SampleRequest(question=question, prompt=make_outcome(6).row.prompt, prompt_version="t@1", n=1, seed=1)
    prepared = PromptBuilder(engine).sample(request, [decode_image(image) for image in question.images], "r")
    params = prepared.params
    params.prompt_logprobs, params.max_tokens, params.seed = 0, 1, None
    prepared = replace(prepared, params=params)
    engine.add_request(prepared.request_id, prepared.prompt, prepared.params)
    outputs = []
    while engine.has_unfinished_requests():
        outputs += engine.step()
    (output,) = [o for o in outputs if o.finished]
    ids = list(output.prompt_token_ids)
    log_probs = [entry[token].logprob for token, entry in zip(ids[1:], output.prompt_logprobs[1:], strict=True)]
    print(json.dumps({"tokens": ids, "log_probs": log_probs}), flush=True)
    engine.engine_core.shutdown()


if __name__ == "__main__":
    for each in sys.argv[1:]:
        main(each)
