"""An engine that counts: every other rollout is right, and each is longer than the one before."""

from mmpr_pipeline import Rollout


class Counting:
    can_continue = False

    def __init__(self, settings):
        from mmpr_pipeline.engines.engine import EngineInfo

        self.info = EngineInfo(engine=settings.name, model="counting", context=None, can_continue=False)

    async def sample(self, request):
        return [self.rollout(request, request.first_index + i, request.seed + i) for i in range(request.n)]

    def rollout(self, request, index, seed):
        answer = request.question.answer if index % 2 else "999"
        return Rollout(
            question_id=request.question.question_id,
            round=request.round,
            index=index,
            seed=seed,
            text="I count. " * index + f"The answer is {answer}.",
            tokens=3 * index + 4,
            finish_reason="stop",
            model=self.info.model,
            prompt_version=request.prompt_version,
        )

    async def stats(self):
        from mmpr_pipeline.engines.engine import EngineStats

        return EngineStats()

    async def close(self):
        pass
