"""From requests to what vLLM's engine takes: the chat rendered, images decoded and cut into tiles, lengths checked.

Rendering is vLLM's own (the tokenizer's or processor's chat template and the model's own image processor), so any
vision-language model that vLLM serves for chat can be sampled. Decoded images are kept for later rounds: vLLM has their
tiles in its cache, and asks for the images all the same.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmpr_pipeline.core.errors import EngineError, ItemRejected
from mmpr_pipeline.core.records import Image
from mmpr_pipeline.engines.engine import TOP, ContinueRequest, SampleRequest, least_room
from mmpr_pipeline.models.messages import IMAGE_MARK, MAX_TILES, interleaved, marked, messages_of, tile_settings
from mmpr_pipeline.rollouts.reserved import ReservedTokens, plain_encoder

if TYPE_CHECKING:
    import PIL.Image
    from vllm import SamplingParams
    from vllm.v1.engine.llm_engine import LLMEngine
from collections import OrderedDict
from typing import TYPE_CHECKING

from mmpr_pipeline.models.messages import decode_image

if TYPE_CHECKING:
    import PIL.Image


@dataclass(frozen=True)
class Prepared:
    """A request ready for the engine."""

    request_id: str
    prompt: Any
    """Token ids and image tensors as vLLM's renderer gives them."""
    params: SamplingParams
    prompt_tokens: int
    question_id: str = ""


@dataclass(frozen=True)
class KeptTokens:
    """The kept part of a parent response: its token ids and its text."""

    ids: list[int]
    text: str


class PromptBuilder:
    """Prepares requests for one engine; may be called from any thread, one at a time."""

    def __init__(self, engine: LLMEngine) -> None:
        from vllm.renderers.params import ChatParams

        self._engine = engine
        self._config = engine.model_config
        self._tokenizer: Any = engine.get_tokenizer()
        self._reserved = ReservedTokens(self._tokenizer)
        self._plain = plain_encoder(self._tokenizer)
        self._chat_params = ChatParams(chat_template_kwargs={"add_generation_prompt": True})
        # vLLM's image processor and its cache are written for one thread at a time.
        self._lock = threading.Lock()
        architectures = getattr(self._config.hf_config, "architectures", None) or [None]
        self._architecture = architectures[0]
        self._most_tiles = _most_tiles(self._config)
        self._mark = self._image_mark()
        from vllm.renderers.hf import resolve_chat_template_content_format

        form = resolve_chat_template_content_format(None, None, "auto", self._tokenizer, model_config=self._config)
        self._parts = bool(form == "openai")

    @property
    def context(self) -> int:
        """Context length in tokens, prompt and response together."""
        return int(self._config.max_model_len)

    def sample(self, request: SampleRequest, images: list[PIL.Image.Image], request_id: str) -> Prepared:
        """The chat with its images, for n rollouts; raises ItemRejected where it cannot be put to the model."""
        messages = self._messages(request.prompt, images, request.question.images)
        tiles = tile_settings(self._architecture, request.question.tiles, self._most_tiles)
        rendered = self._render(messages, {"mm_processor_kwargs": tiles} if tiles and images else {})
        if request.prefix:
            rendered["prompt_token_ids"] = [*rendered["prompt_token_ids"], *self._plain(request.prefix)]
            rendered.pop("prompt", None)
        top = TOP if request.words else None
        return self._prepare(rendered, request, request.n, request_id, top)

    def cut(self, request: ContinueRequest) -> KeptTokens:
        """The kept tokens of the parent, cut back to a character boundary; raises ItemRejected where none are left."""
        text = request.parent.text
        ids = self._plain(text)
        for kept in range(int(len(ids) * request.ratio), 0, -1):
            prefix = self._tokenizer.decode(ids[:kept], skip_special_tokens=False)
            # A token may hold part of a character only; decoding then ends in U+FFFD, which is not in the text.
            if prefix and text.startswith(prefix) and not prefix.endswith("\ufffd"):
                return KeptTokens(ids[:kept], prefix)
        raise ItemRejected("too_short_to_cut", f"{len(ids)} tokens")

    def continuation(self, request: ContinueRequest, cut: KeptTokens, request_id: str) -> Prepared:
        """The chat without images, followed by the kept tokens of the response."""
        rendered = self._render(self._messages(request.prompt, [], ()), {})
        rendered["prompt_token_ids"] = [*rendered["prompt_token_ids"], *cut.ids]
        rendered.pop("prompt", None)
        return self._prepare(rendered, request, 1, request_id)

    def _messages(
        self, prompt: str, images: list[PIL.Image.Image], stored: tuple[Image, ...]
    ) -> list[dict[str, object]]:
        """The turns as vLLM's chat takes them, each image where its mark stands."""
        if self._mark != IMAGE_MARK and self._mark and self._mark in prompt.replace(IMAGE_MARK, "\n"):
            raise ItemRejected("reserved_token", f"the text holds {self._mark}")
        self._reserved.refuse(prompt)
        shown = 0

        def content(pieces: list[str], parts: list[dict[str, object]]) -> object:
            nonlocal shown
            before, shown = shown, shown + len(parts)
            if not parts:
                return pieces[0]
            if self._parts:
                return interleaved(pieces, parts)
            return [*parts, marked(pieces, lambda at: self._mark_of(before + at))]

        parts: list[dict[str, object]] = [
            {"type": "image_pil", "image_pil": image, "uuid": kept.sha256}
            for image, kept in zip(images, stored, strict=True)
        ]
        return messages_of(prompt, parts, content)

    def _render(self, messages: list[dict[str, object]], extras: dict[str, object]) -> Any:
        from vllm.exceptions import VLLMValidationError

        try:
            with self._lock:
                _, [rendered] = self._engine.renderer.render_chat([messages], self._chat_params, prompt_extras=extras)
        except VLLMValidationError as error:
            too_long = "maximum context length" in str(error)
            raise ItemRejected("prompt_too_long" if too_long else "prompt_refused", str(error)[:200]) from None
        except Exception as error:  # processors of models raise whatever they like on texts that they did not foresee
            raise ItemRejected("prompt_refused", f"{type(error).__name__}: {error}"[:200]) from None
        return rendered

    def _prepare(
        self, rendered: Any, request: SampleRequest | ContinueRequest, n: int, request_id: str, top: int | None = None
    ) -> Prepared:
        """`top`: how many of the likeliest tokens at each place come with their log-probabilities."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        decoding, length = request.decoding, len(rendered["prompt_token_ids"])
        room = self.context - length
        if room < (least := least_room(decoding.max_tokens, self.context)):
            detail = f"{length} of {self.context} tokens leave {max(0, room)} for a response, {least} are needed"
            raise ItemRejected("prompt_too_long", detail)
        params = SamplingParams(
            n=n if decoding.temperature > 0 else 1,  # n greedy rollouts are one
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            max_tokens=min(decoding.max_tokens, room),
            seed=request.seed,
            output_kind=RequestOutputKind.FINAL_ONLY,
            detokenize=False,
            logprobs=top,
        )
        return Prepared(request_id, rendered, params, length, request.question.question_id)

    def _mark_of(self, index: int) -> str:
        """The model's own mark for its image number `index` (from 0), in templates that take one string."""
        from vllm.model_executor.model_loader import get_model_cls

        model: Any = get_model_cls(self._config)
        return str(model.get_placeholder_str("image", index + 1))

    def _image_mark(self) -> str | None:
        if not self._config.is_multimodal_model:
            raise EngineError(
                f"{self._config.model} takes no images.", remedy="Use a vision-language model, such as InternVL2."
            )
        try:
            return self._mark_of(0)
        except (ValueError, AttributeError):
            return None


def _most_tiles(config: Any) -> int:
    """The tiles that the engine planned its memory for."""
    planned = (config.multimodal_config and config.multimodal_config.mm_processor_kwargs) or {}
    return int(planned.get("max_dynamic_patch") or planned.get("max_patches") or MAX_TILES)


MOST_PIXELS = 64_000_000
"""Pixels that are kept, at three bytes each: about 300 images of 448 x 448."""


class DecodedImages:
    """The images that were asked for last, by their sha256; may be used from several threads."""

    def __init__(self, most_pixels: int = MOST_PIXELS) -> None:
        self._most = most_pixels
        self._kept: OrderedDict[str, PIL.Image.Image] = OrderedDict()
        self._pixels = 0
        self._lock = threading.Lock()

    def get(self, image: Image) -> PIL.Image.Image:
        """The decoded image; raises ItemRejected where it cannot be decoded."""
        with self._lock:
            if image.sha256 in self._kept:
                self._kept.move_to_end(image.sha256)
                return self._kept[image.sha256]
        decoded = decode_image(image)
        with self._lock:
            if image.sha256 not in self._kept:
                self._kept[image.sha256] = decoded
                self._pixels += decoded.width * decoded.height
            while self._pixels > self._most:
                _, oldest = self._kept.popitem(last=False)
                self._pixels -= oldest.width * oldest.height
        return decoded
