"""The prefix-shared policy: one forward scores every response of every group, each token and image computed once.

Equal to separate forwards of prompt + response (the tests hold it to 1e-5 in fp32, gradients too), at a fraction of
their cost: with a prompt of 1,900 tokens and responses of 300, four pairs of one question take 4,300 tokens where
concatenated training takes 17,600, and one encoding of the image where that takes eight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmpr_pipeline.training.data.batch import ImageInputs, PackedBatch
from mmpr_pipeline.training.data.tree_layout import Backend
from mmpr_pipeline.training.policy.families import family_of
from mmpr_pipeline.training.policy.families.experts import experts_of, imbalance, recorded
from mmpr_pipeline.training.policy.families.family import Family
from mmpr_pipeline.training.policy.families.plain import plain_token_log_probs
from mmpr_pipeline.training.policy.head import token_log_probs
from mmpr_pipeline.training.policy.kernels import NAME, choose_backend, shared_attention


@dataclass(frozen=True)
class ResponseScores:
    """What a model says of a batch: log π of each response (R,), and of each scored token (N,) as `batch.targets`."""

    responses: Tensor
    tokens: Tensor
    imbalance: Tensor | None = None  # of experts, with gradient; see `families.experts`


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
        turn_off_randomness(self.bare)
        AttentionInterface.register(NAME, shared_attention)  # again is harmless
        config = self.family.language_model(self.bare).config
        self._before = config._attn_implementation
        self.experts = experts_of(config)
        self.why_plain = self.family.not_shareable(self.bare)
        self.take()

    @property
    def shares(self) -> bool:
        """Whether prefixes are shared; else every response is a row of its own: `families.plain`."""
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
        with recorded(self.family.language_model(bare), self._routes) as routing:
            if shares:
                hidden = self.family.hidden_states(bare, batch, positions, shared=batch.layout) + blank
                tokens = token_log_probs(hidden[batch.score_at], head.weight, batch.targets, self._chunk_bytes)
            else:
                tokens, real = plain_token_log_probs(self.family, bare, batch)
                tokens = tokens + blank
        uneven = imbalance(routing, self.experts, real) if self.experts and self._routes else None
        # Sums over segments, then over the segments of each response's path.
        segments = tokens.new_zeros(len(batch.layout.queries)).index_add(0, batch.score_segment, tokens)
        responses = tokens.new_zeros(len(batch.lengths))
        responses = responses.index_add(0, batch.path_response, segments[batch.path_segment])
        return ResponseScores(responses, tokens, uneven)

    def generate(self, **inputs: Any) -> Tensor:
        """transformers' own generation, after `release`; the tokens of prompt and answer, (B, L)."""
        made: Tensor = self.bare.generate(**inputs)
        return made

    @property
    def _routes(self) -> bool:
        """Whether this forward's routing is wanted: an auxiliary loss is learnt from."""
        return self.experts is not None and self.experts.weight > 0 and torch.is_grad_enabled()


def turn_off_randomness(model: nn.Module) -> None:
    """Set every dropout, attention dropout and stochastic depth of a model to 0, whatever its training mode."""
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        for name in ("drop_prob", "attention_dropout", "hidden_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
