"""The prefix-shared policy: one forward scores every response of every group, each token and image computed once.

Equal to separate forwards of prompt + response (the tests hold it to 1e-5 in fp32, gradients too), at a fraction of
their cost: with a prompt of 1,900 tokens and responses of 300, four pairs of one question take 4,300 tokens where
concatenated training takes 17,600, and one encoding of the image where that takes eight.

Beside it the plain path, for models whose attention prefix sharing cannot compute: a forward of the model itself over
whole sequences, one row a response. Image and prompt are computed again for each response, and logits of all response
positions exist at once. What it gives is what transformers gives, by definition.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmpr_pipeline.training.data.batch import Backend, ImageInputs, PackedBatch, stack_rows
from mmpr_pipeline.training.policy.families.family import Family, family_of
from mmpr_pipeline.training.policy.kernels import NAME, choose_backend, shared_attention, token_log_probs


@dataclass(frozen=True)
class Experts:
    """E experts of which each token takes `taken`; `weight` is the config's own of the auxiliary loss."""

    count: int
    taken: int
    weight: float


def experts_of(config: Any) -> Experts | None:
    """Of a text config; None for a dense model."""
    names = ("num_experts", "num_local_experts", "n_routed_experts")
    count = next((int(found) for name in names if (found := getattr(config, name, None))), 0)
    taken = getattr(config, "num_experts_per_tok", None) or getattr(config, "moe_topk", None)
    if count < 2 or not taken:
        return None
    return Experts(count, int(taken), float(getattr(config, "router_aux_loss_coef", None) or 0.0))


@dataclass(frozen=True)
class ResponseScores:
    """What a model says of a batch: log π of each response (R,), and of each scored token (N,) as `batch.targets`."""

    responses: Tensor
    tokens: Tensor
    imbalance: Tensor | None = None  # of experts, with gradient; see `_imbalance`


class PrefixSharedPolicy(nn.Module):
    """A transformers vision-language model (bare, or wrapped by peft) that scores packed batches.

    Takes over the language model's attention until `release`. All randomness of the forward (dropout, stochastic
    depth) is turned off for good: chosen and rejected must be judged by the same network, and so must the reference.
    A model that prefix sharing cannot compute (`why_plain` names what) is run as it is, one row a response.
    """

    def __init__(self, model: Any, *, backend: Backend | None = None, chunk_bytes: int | None = None) -> None:
        from transformers.modeling_utils import AttentionInterface

        super().__init__()
        self.model = model
        self.family: Family = family_of(self.bare)
        self.backend: Backend | None = None
        self.blank: ImageInputs = {}  # of a small picture; `shard` sets it
        self._wanted, self._chunk_bytes = backend, chunk_bytes
        for module in self.bare.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.p = 0.0
            for name in ("drop_prob", "attention_dropout", "hidden_dropout"):
                if isinstance(getattr(module, name, None), float):
                    setattr(module, name, 0.0)
        AttentionInterface.register(NAME, shared_attention)  # again is harmless
        config = self.family.language_model(self.bare).config
        self._before = config._attn_implementation
        self.experts = experts_of(config)
        self.why_plain = self.family.not_shareable(self.bare)
        self.take()

    @property
    def shares(self) -> bool:
        """Whether prefixes are shared; else every response is a row of its own: `_plain_token_log_probs`."""
        return not self.why_plain

    def give_up_sharing(self, why: str) -> None:
        """Compute by the plain path from now on."""
        self.why_plain = [*self.why_plain, why]
        self.release()

    @property
    def bare(self) -> Any:
        """The transformers model itself, inside peft's wrapper where there is one."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    def release(self) -> None:
        """Give the language model its own attention back, e.g. to generate."""
        self.family.language_model(self.bare).config._attn_implementation = self._before

    def take(self) -> None:
        """Undo `release`."""
        if self.shares:
            self.family.language_model(self.bare).config._attn_implementation = NAME

    def forward(self, batch: PackedBatch) -> ResponseScores:
        """Score a batch (moved to the model's device). Log-probs are float32 and carry gradients where enabled."""
        bare, head, shares = self.bare, self.bare.get_output_embeddings(), self.shares
        device, real = head.weight.device, None
        # 0, through the vision tower where the batch has no image: a sharded one gathers its weights in every rank's
        # forward, and a rank that skipped it would leave the others waiting for ever.
        blank = 0.0 if batch.images or not self.blank else 0.0 * self.family.features(bare, self.blank)
        if shares:
            if self.backend is None:
                cast = torch.is_autocast_enabled(device.type)
                dtype = torch.get_autocast_dtype(device.type) if cast else bare.get_input_embeddings().weight.dtype
                self.backend = choose_backend(device, dtype, self._wanted)
            positions = self.family.positions(bare, batch).to(device, non_blocking=True)
        batch = batch.to(device, self.backend or "sdpa")
        # Routing is wanted where an auxiliary loss is learnt from.
        learns = self.experts is not None and self.experts.weight > 0 and torch.is_grad_enabled()
        logits: list[Tensor] = []
        with _router_logits(self.family.language_model(bare), logits) if learns else nullcontext():
            if shares:
                hidden = self.family.hidden_states(bare, batch, positions, shared=batch.layout) + blank
                tokens = token_log_probs(hidden[batch.score_at], head.weight, batch.targets, self._chunk_bytes)
            else:
                tokens, real = _plain_token_log_probs(self.family, bare, batch)
                tokens = tokens + blank
        uneven = _imbalance(logits, self.experts, real) if self.experts and learns else None
        # Sums over segments, then over the segments of each response's path.
        segments = tokens.new_zeros(len(batch.layout.queries)).index_add(0, batch.score_segment, tokens)
        responses = tokens.new_zeros(len(batch.lengths))
        responses = responses.index_add(0, batch.path_response, segments[batch.path_segment])
        return ResponseScores(responses, tokens, uneven)

    def generate(self, **inputs: Any) -> Tensor:
        """transformers' own generation, after `release`; the tokens of prompt and answer, (B, L)."""
        made: Tensor = self.bare.generate(**inputs)
        return made


@contextmanager
def _router_logits(language: nn.Module, found: list[Tensor]) -> Iterator[None]:
    """Within, a forward of a language model adds the logits (tokens, E) of each of its routers to `found`."""

    handles = [
        language.register_forward_pre_hook(
            lambda module, args, kwargs: (args, {**kwargs, "output_router_logits": True}), with_kwargs=True
        ),
        language.register_forward_hook(
            lambda module, args, out: found.extend(getattr(out, "router_logits", None) or ())
        ),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _imbalance(logits: Sequence[Tensor], experts: Experts, real: Tensor | None) -> Tensor:
    """The auxiliary loss that keeps the load of experts even, a scalar with gradient; 0 where nothing was routed.

    With f_e the share of tokens (of all layers) that take expert e among their k, and P_e the mean probability that the
    routers give it: E · Σ_e f_e P_e over E experts; k where the load is even. Fedus et al. 2022 (Switch Transformer,
    arXiv 2101.03961, eq. 4-6), as transformers computes it. `real` (tokens,) is False for padding.
    """
    if not logits:
        return torch.zeros(())
    probabilities = [each.float().softmax(-1) for each in logits]
    if real is not None:
        probabilities = [p[real.flatten()] for p in probabilities]
    joined = torch.cat(probabilities)
    taken = joined.topk(experts.taken, -1).indices.flatten().bincount(minlength=experts.count)
    return experts.count * (taken / len(joined) * joined.mean(0)).sum()


def _plain_token_log_probs(family: Family, model: Any, batch: PackedBatch) -> tuple[Tensor, Tensor]:
    """(N,) float32 log-probs of the batch's scored tokens, in the order of `batch.targets`; and which places of the
    rows, padded right, hold a token: (R, L) bool."""
    paths: list[list[int]] = [[] for _ in range(len(batch.lengths))]  # the segments that each response runs through
    for response, segment in zip(batch.path_response.tolist(), batch.path_segment.tolist(), strict=True):
        paths[response].append(segment)
    rows, starts = [], []  # tokens of prompt and response, and where the response starts
    for path, group in zip(paths, batch.response_group, strict=True):
        spans = [batch.prompts[group], *(batch.layout.queries[segment] for segment in path)]
        rows.append(torch.cat([batch.input_ids[a:b] for a, b in spans]))
        starts.append(spans[0][1] - spans[0][0])
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    width = ids.shape[1]
    mask = torch.stack([torch.arange(width, device=ids.device) < len(row) for row in rows])
    partial = "logits_to_keep" in inspect.signature(model.forward).parameters
    by_group = batch.images_by_group()
    images = [by_group[group] for group in batch.response_group]  # again for every response
    out = model(
        input_ids=ids,
        attention_mask=mask.long(),
        use_cache=False,
        **family.text_inputs(model, ids, starts),
        **{name: stack_rows([each[name] for each in images if name in each]) for name in batch.images},
        **({"logits_to_keep": width - min(starts) + 1} if partial else {}),
    )
    first = width - out.logits.shape[1]  # position of the first logits
    by_segment: dict[int, Tensor] = {}
    for row, (tokens, start, path) in enumerate(zip(rows, starts, paths, strict=True)):
        scores = -F.cross_entropy(
            out.logits[row, start - 1 - first : len(tokens) - 1 - first].float(), tokens[start:], reduction="none"
        )
        sizes = [end - begin for begin, end in (batch.layout.queries[segment] for segment in path)]
        by_segment.update(zip(path, scores.split(sizes), strict=True))
    return torch.cat([by_segment[segment] for segment in sorted(by_segment)]), mask
