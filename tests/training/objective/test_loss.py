from __future__ import annotations

import inspect
import math

import pytest
import torch

from mmpr_pipeline.core.errors import ConfigError, TrainingError
from mmpr_pipeline.training.objective.loss import (
    LOSSES,
    RECIPES,
    TERMS,
    LossSettings,
    PairLogProbs,
    is_reference_free,
    mixed,
    mpo,
    needs_reference,
    recipe,
    value_at_start,
)
from mmpr_pipeline.training.run.step import RewardShift

LN2 = math.log(2)


def pairs(*rows: tuple[float, float, float, float, int, int]) -> PairLogProbs:
    return PairLogProbs(*torch.tensor(rows, dtype=torch.float64).T)


# h_c = 2, h_r = -3, margin 5; lengths 10 and 5.
ONE = pairs((-20.0, -33.0, -22.0, -30.0, 10, 5))


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


PINNED = [
    # (term, beta, label noise, shift, value worked out by hand)
    ("dpo", 0.1, 0.0, 0.0, -math.log(sigma(0.5))),
    ("dpo_norm", 5.0, 0.0, 0.0, -math.log(sigma(5 * (0.2 + 0.6)))),
    ("bco", 0.1, 0.0, 0.0, -math.log(sigma(0.2)) - math.log(sigma(0.3))),
    ("bco", 0.1, 0.0, 0.25, -math.log(sigma(-0.05)) - math.log(sigma(0.55))),
    ("sft", 0.1, 0.0, 0.0, 2.0),
    ("cdpo", 0.1, 0.2, 0.0, -0.8 * math.log(sigma(0.5)) - 0.2 * math.log(sigma(-0.5))),
    ("robust_dpo", 0.1, 0.2, 0.0, (-0.8 * math.log(sigma(0.5)) + 0.2 * math.log(sigma(-0.5))) / 0.6),
    ("ipo", 0.1, 0.0, 0.0, (0.2 + 0.6 - 5.0) ** 2),
    ("rso", 0.1, 0.0, 0.0, 0.5),
    ("rso", 0.5, 0.0, 0.0, 0.0),
    ("sppo", 0.1, 0.0, 0.0, (2.0 - 5.0) ** 2 + (-3.0 + 5.0) ** 2),
    ("aot", 0.1, 0.0, 0.0, -math.log(sigma(0.5))),
    ("aot", 0.1, 0.2, 0.0, -0.8 * math.log(sigma(0.5)) - 0.2 * math.log(sigma(-0.5))),
    # p_c = e^-2, p_r = e^-6.6
    (
        "odds_ratio",
        0.1,
        0.0,
        0.0,
        -math.log(sigma((-2 - math.log(1 - math.exp(-2))) - (-6.6 - math.log(1 - math.exp(-6.6))))),
    ),
]


@pytest.mark.parametrize(("term", "beta", "noise", "shift", "value"), PINNED)
def test_a_term_has_its_pinned_value(term: str, beta: float, noise: float, shift: float, value: float) -> None:
    assert TERMS[term](ONE, LossSettings(beta, noise), shift).item() == pytest.approx(value, rel=1e-9)


def test_pinned_figures_as_plain_numbers() -> None:
    # The same as above in digits, so that a shared mistake in formula and test would need to be made twice.
    settings = LossSettings()
    assert TERMS["dpo"](ONE, settings, 0.0).item() == pytest.approx(0.474076984, abs=1e-8)
    assert TERMS["bco"](ONE, settings, 0.0).item() == pytest.approx(0.598138869 + 0.554355244, abs=1e-8)
    assert mpo(ONE).total.item() == pytest.approx(0.8 * 0.474076984 + 0.2 * 1.152494113 + 2.0, abs=1e-8)


def test_every_term_has_a_pinned_value() -> None:
    assert {case[0] for case in PINNED} == set(TERMS)


def test_mpo_at_step_zero_is_the_papers_number() -> None:
    start = pairs((-20.0, -33.0, -20.0, -33.0, 10, 5), (-7.0, -9.0, -7.0, -9.0, 7, 3))
    expected = 0.8 * LN2 + 0.2 * 2 * LN2
    assert expected == pytest.approx(0.8318, abs=5e-5)
    assert mpo(start).total.tolist() == pytest.approx([expected + 2.0, expected + 1.0])
    assert value_at_start(recipe("mpo"), LossSettings()) == pytest.approx(expected)


def test_sft_counts_each_sample_the_same_however_long() -> None:
    two = pairs((-100.0, 0, 0, 0, 100, 1), (-3.0, 0, 0, 0, 1, 1))
    assert mixed(two, {"sft": 1.0}, LossSettings()).total.mean().item() == pytest.approx(2.0)  # a token mean: 1.0198


def test_aot_compares_sorted_margins() -> None:
    two = pairs((1.0, 0, 4.0, 0, 1, 1), (3.0, 0, 2.0, 0, 1, 1))  # policy margins 1, 3; reference 4, 2
    expected = [-math.log(sigma(0.1 * (1 - 2))), -math.log(sigma(0.1 * (3 - 4)))]
    assert TERMS["aot"](two, LossSettings(), 0.0).tolist() == pytest.approx(expected)


def test_the_odds_ratio_stays_finite_with_finite_gradients_at_certain_tokens() -> None:
    chosen = torch.tensor([0.0, -1e-9, -2000.0], requires_grad=True)
    one = torch.ones(3)
    batch = PairLogProbs(chosen, -one, one, one, one, one)
    TERMS["odds_ratio"](batch, LossSettings(), 0.0).sum().backward()
    assert chosen.grad is not None
    assert torch.isfinite(chosen.grad).all()


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_prefers_chosen_over_rejected(name: str) -> None:
    chosen = torch.tensor([-20.0], requires_grad=True)
    rejected = torch.tensor([-30.0], requires_grad=True)
    batch = PairLogProbs(chosen, rejected, chosen.detach(), rejected.detach(), torch.ones(1) * 10, torch.ones(1) * 10)
    mixed(batch, recipe(name), LossSettings()).total.sum().backward()
    assert chosen.grad is not None
    assert chosen.grad.item() < 0  # descent raises the chosen response
    assert rejected.grad is None or rejected.grad.item() > 0 or name == "sft"


def test_terms_are_reported_unweighted_and_detached() -> None:
    out = mpo(ONE)
    assert set(out.terms) == {"dpo", "bco", "sft"}
    assert out.terms["sft"].item() == pytest.approx(2.0)
    assert not any(value.requires_grad for value in out.terms.values())


def test_orpo_and_sft_alone_need_no_reference() -> None:
    assert {name for name in RECIPES if not needs_reference(recipe(name))} == {"sft", "orpo"}


@pytest.mark.parametrize("weights", [{}, {"dpo": 0.0}, {"dpu": 1.0}])
def test_weights_that_cannot_work_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="What to do"):
        mixed(ONE, weights, LossSettings())


@pytest.mark.parametrize("bad", [{"beta": 0.0}, {"beta": float("nan")}, {"label_noise": 0.5}, {"label_noise": -0.1}])
def test_settings_that_cannot_work_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        LossSettings(**bad)


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="mpo"):
        recipe("dpoo")


def test_the_reward_shift_is_the_mean_of_all_rewards_of_finished_steps() -> None:
    shift = RewardShift()
    assert shift.value == 0.0
    assert shift.end_step(4.0, 4) == pytest.approx(1.0)
    assert shift.end_step(8.0, 3) == pytest.approx((4.0 + 8.0) / 7)


def test_a_moving_reward_shift_forgets_and_survives_a_checkpoint() -> None:
    """Nemotron's: δ is 0 before the first step, then moves a hundredth of the way to each step's mean."""
    shift = RewardShift(decay=0.99)
    assert shift.value == 0.0
    expected = 0.0
    for total, count in ((4.0, 2), (5.0, 1), (-24.0, 3)):
        expected = 0.99 * expected + 0.01 * total / count
        assert shift.end_step(total, count) == pytest.approx(expected)
    again = RewardShift(shift.total, shift.count, decay=0.99)
    assert again.value == pytest.approx(expected)


def test_the_reward_shift_survives_a_checkpoint() -> None:
    before = RewardShift()
    before.end_step(3.0, 2)
    after = RewardShift(before.total, before.count)
    assert after.end_step(9.0, 1) == before.end_step(9.0, 1) == pytest.approx(4.0)


def test_a_reward_that_is_not_finite_stops_the_run() -> None:
    with pytest.raises(TrainingError):
        RewardShift().end_step(float("nan"), 2)


def test_the_recipes_are_what_they_are_called() -> None:
    pairwise = ["dpo", "dpo_norm", "bco", "cdpo", "robust_dpo", "ipo", "rso", "sppo", "aot"]
    assert {
        "mpo": {"dpo": 0.8, "bco": 0.2, "sft": 1.0},
        "sft": {"sft": 1.0},
        **{name: {name: 1.0} for name in pairwise},
        **{f"{name}+sft": {name: 1.0, "sft": 1.0} for name in pairwise},
        "tr_dpo": {"dpo": 1.0},
        "tr_dpo+sft": {"dpo": 1.0, "sft": 1.0},
        "orpo": {"odds_ratio": 0.1, "sft": 1.0},
    } == RECIPES


@pytest.mark.parametrize("name", sorted(TERMS))
def test_every_loss_has_no_shift_unless_it_is_told_one(name: str) -> None:
    assert inspect.signature(TERMS[name]).parameters["shift"].default == 0.0
    assert inspect.signature(mixed).parameters["shift"].default == 0.0
    assert inspect.signature(mpo).parameters["shift"].default == 0.0
    assert inspect.signature(value_at_start).parameters["shift"].default == 0.0


def test_a_loss_of_another_distribution_is_mixed_and_says_whether_it_needs_a_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def mine(pairs: PairLogProbs, settings: LossSettings, shift: float = 0.0) -> torch.Tensor:
        return pairs.margin

    def free(pairs: PairLogProbs, settings: LossSettings, shift: float = 0.0) -> torch.Tensor:
        return -pairs.chosen

    free.reference_free = True  # type: ignore[attr-defined]
    for loss in (mine, free):
        monkeypatch.setitem(LOSSES._added, f"foreign_{loss.__name__}", (loss, "foreign 1"))
    assert [is_reference_free(f"foreign_{name}") for name in ("mine", "free")] == [False, True]
    assert needs_reference({"foreign_free": 1.0, "foreign_mine": 0.0}) is False
    assert recipe("foreign_mine") == {"foreign_mine": 1.0}
    assert recipe("foreign_mine+sft") == {"foreign_mine": 1.0, "sft": 1.0}
    for wrong in ("foreign_mine+dpo", "foreign_mine+", "dpo+bco"):
        with pytest.raises(ConfigError, match=r"foreign_free.*foreign_mine|foreign_mine.*foreign_free"):
            recipe(wrong)
    assert mixed(ONE, recipe("foreign_mine+sft"), LossSettings()).total.item() == pytest.approx(5.0 + 2.0)
    assert value_at_start({"foreign_mine": 2.0, "foreign_free": 1.0, "dpo": 1.0}, LossSettings()) == pytest.approx(LN2)
