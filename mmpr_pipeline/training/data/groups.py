"""Groups: the pairs of one question, each distinct response once, and the prefix tree of what they share.

Flat preference training computes image and prompt twice for every pair. Here a question's image and prompt are the
root of a tree, and responses hang below it; responses that begin alike (DropNTP pairs share half a response by
construction) share that beginning too. All pure: tokens in, tokens out.

    prompt ─┬─ shared half ─┬─ tail of chosen          packed in this order (depth first), so that the tokens below
            │               └─ tail of rejected        any node are one contiguous range
            └─ another response
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from mmpr_pipeline.core.errors import ConfigError, ItemRejected

if TYPE_CHECKING:  # the scorer runs where only torch and transformers are installed
    from mmpr_pipeline.core.records import PreferencePair

Tokens = tuple[int, ...]
ENOUGH_TO_SHARE = 16  # a shorter common beginning costs more as a segment of its own than it saves


@dataclass(frozen=True)
class IndexedPair:
    """A pair as indices into its group's responses."""

    pair_id: str
    chosen: int
    rejected: int


@dataclass(frozen=True)
class Group:
    """The pairs of one question that train together.

    `prompt` ends where responses begin, with image tokens already expanded; each response ends with the end-of-turn
    token. `images` names the images by sha256 in the order of the prompt.
    """

    question_id: str
    prompt: Tokens
    images: tuple[str, ...]
    responses: tuple[Tokens, ...]
    pairs: tuple[IndexedPair, ...]


@dataclass(frozen=True)
class Segment:
    """A node of the prefix tree: the tokens it adds to its parent's path. `parent` is an index, -1 for the root."""

    parent: int
    tokens: Tokens


@dataclass(frozen=True)
class PrefixTree:
    """Segments in depth-first order, the prompt first, and for each response the segments it runs through, in order.

    The prompt is in no response's path: it is not scored.
    """

    segments: tuple[Segment, ...]
    paths: tuple[tuple[int, ...], ...]

    @property
    def tokens(self) -> int:
        """Tokens that a forward computes for the whole group."""
        return sum(len(segment.tokens) for segment in self.segments)


def make_group(pairs: Sequence[PreferencePair], prompt: Tokens, encode: Callable[[str], Sequence[int]]) -> Group:
    """The group of one question's pairs; `encode` maps a response's text to its tokens, end-of-turn included.

    Raises ItemRejected: `empty_prompt`, `empty_response` where a response is blank, `identical_responses` where
    chosen and rejected are the same tokens.
    """
    if not prompt:
        raise ItemRejected("empty_prompt", pairs[0].question_id)
    places: dict[Tokens, int] = {}  # index of each distinct response
    indexed = []
    for pair in pairs:
        sides = []
        for text in (pair.chosen, pair.rejected):
            tokens = tuple(encode(text)) if text.strip() else ()
            if not tokens:
                raise ItemRejected("empty_response", pair.pair_id)
            sides.append(places.setdefault(tokens, len(places)))
        chosen, rejected = sides
        if chosen == rejected:
            raise ItemRejected("identical_responses", pair.pair_id)
        indexed.append(IndexedPair(pair.pair_id, chosen, rejected))
    return Group(pairs[0].question_id, prompt, pairs[0].images, tuple(places), tuple(indexed))


def subgroup(group: Group, pairs: Sequence[IndexedPair]) -> Group:
    """The group of some of a group's pairs, with only the responses that these use."""
    used = sorted({index for pair in pairs for index in (pair.chosen, pair.rejected)})
    new = {old: index for index, old in enumerate(used)}
    moved = tuple(IndexedPair(p.pair_id, new[p.chosen], new[p.rejected]) for p in pairs)
    return Group(group.question_id, group.prompt, group.images, tuple(group.responses[i] for i in used), moved)


def prefix_tree(group: Group, enough: int = ENOUGH_TO_SHARE) -> PrefixTree:
    """The tree that shares every common beginning of at least `enough` tokens."""
    responses = group.responses
    segments = [Segment(-1, group.prompt)]
    paths: list[tuple[int, ...]] = [()] * len(responses)

    # Responses that share everything before token `start`, below the path `above`, whose first is the prompt.
    waiting: list[tuple[Sequence[int], int, tuple[int, ...]]] = [(range(len(responses)), 0, ())]
    while waiting:
        members, start, above = waiting.pop()
        if above:
            # Tokens from `start` that all members have in common.
            first, last = (pick(responses[m] for m in members) for pick in (min, max))
            length = 0
            for a, b in zip(first[start:], last[start:], strict=False):
                if a != b:
                    break
                length += 1
            if not length:  # it ends exactly here: a beginning of others, without a segment of its own
                paths[members[0]] = above[1:]
                continue
            segments.append(Segment(above[-1], responses[members[0]][start : start + length]))
            start += length
        path = (*above, len(segments) - 1)
        if above and len(members) == 1:
            paths[members[0]] = path[1:]
            continue
        # Members that agree on the next `enough` tokens together, in order of first appearance. Distinct responses can
        # agree on fewer only by ending there: those stand alone, as do all that agree with nobody.
        found: dict[Tokens, list[int]] = {}
        for member in members:
            found.setdefault(responses[member][start : start + enough], []).append(member)
        waiting += [(cluster, start, path) for cluster in reversed(found.values())]  # depth first
    return PrefixTree(tuple(segments), tuple(paths))


def tokens_of(group: Group, shares: bool) -> int:
    """Tokens that a forward computes for a group alone; without sharing, of a row for each response, padded."""
    if shares:
        return prefix_tree(group).tokens
    return len(group.responses) * (len(group.prompt) + max(map(len, group.responses)))


def pack(
    groups: Iterable[Group], budget: int, shares: bool = True, most_images: float = inf, image_token: int = -1
) -> Iterator[list[Group]]:
    """Micro-batches of at most `budget` tokens, groups in the order given (so that a stream is packed as it comes).

    The cost of a micro-batch is the tokens that a forward computes: prompts once, responses once, shared beginnings
    once; on the plain path a row for each response, padded to the longest. Image tokens are among them, in a fixed
    ratio to the vision tower's work, so that one budget bounds both; with `most_images` they have a bound of their own
    (a question's own images stay together). Groups must fit the budget each: see `fit_group`. Raises ConfigError for
    one that does not.
    """
    batch: list[Group] = []
    used = rows = longest = seen = 0  # of the batch: tokens with sharing; rows and the longest without; image tokens
    for group in groups:
        size, more, images = tokens_of(group, shares), len(group.responses), group.prompt.count(image_token)
        if size > budget:
            raise ConfigError(
                f"The group of question {group.question_id} has {size} tokens, the budget is {budget}.",
                remedy="Split groups with `fit_group` first, or raise the token budget.",
            )
        joined = used + size if shares else (rows + more) * max(longest, size // more)
        if batch and (joined > budget or seen + images > most_images):
            yield batch
            batch, used, rows, longest, seen = [], 0, 0, 0, 0
        batch.append(group)
        used, rows, longest, seen = used + size, rows + more, max(longest, size // more), seen + images
    if batch:
        yield batch


def fit_group(group: Group, budget: int, shares: bool = True) -> tuple[list[Group], list[tuple[IndexedPair, str]]]:
    """Cut a group into groups of at most `budget` tokens, and name the pairs that fit into none.

    Pairs stay in order; each part takes pairs as long as they fit. A pair that is too long even alone comes back with
    its reason, `pair_over_budget`, or `prompt_over_budget` where the prompt leaves no room for any response.
    """

    def fits(pairs: list[IndexedPair]) -> bool:
        return tokens_of(subgroup(group, pairs), shares) <= budget

    if tokens_of(group, shares) <= budget:
        return [group], []
    reason = "prompt_over_budget" if len(group.prompt) >= budget else "pair_over_budget"
    parts: list[list[IndexedPair]] = []
    rejected = []
    for pair in group.pairs:
        if not fits([pair]):
            rejected.append((pair, reason))
        elif parts and fits([*parts[-1], pair]):
            parts[-1].append(pair)
        else:
            parts.append([pair])
    return [subgroup(group, part) for part in parts], rejected
