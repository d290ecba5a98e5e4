"""The longer of two sampled responses is chosen."""

from mmpr_pipeline import Pairs
from mmpr_pipeline.pairing.strategy import make_pair


class Longest:
    needs_rollouts = True

    async def pair(self, question, prompt, rollouts, engine, recipe):
        ordered = sorted(rollouts, key=lambda rollout: (len(rollout.text), rollout.index))
        if len(ordered) < 2 or len(ordered[0].text) == len(ordered[-1].text):
            return Pairs(reason="equal_lengths")
        return Pairs([make_pair(question, prompt.text, ordered[-1], ordered[0], "longest")])
