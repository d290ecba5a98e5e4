from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmpr_pipeline.training.policy.kernels import token_log_probs


def example(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(23, 16, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(101, 16, generator=generator).to(dtype).requires_grad_()
    return hidden, weight, torch.randint(0, 101, (23,), generator=generator)


def plain(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return (hidden @ weight.T).float().log_softmax(-1).gather(1, targets[:, None])[:, 0]


@pytest.mark.parametrize("rows", [1, 5, 23, 1000])
def test_chunks_equal_a_plain_log_softmax_with_gradients(rows: int) -> None:
    hidden, weight, targets = example()
    upstream = torch.linspace(-1, 2, 23)
    ours = token_log_probs(hidden, weight, targets, chunk_bytes=4 * 101 * rows)
    expected = plain(hidden, weight, targets)
    assert torch.allclose(ours, expected, atol=1e-5)
    for a, b in zip(*(torch.autograd.grad(o, (hidden, weight), upstream) for o in (ours, expected)), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_gradients_agree_with_finite_differences() -> None:
    hidden, weight, targets = example(torch.float64)

    def scored(h: Tensor, w: Tensor) -> Tensor:
        return token_log_probs(h, w, targets, chunk_bytes=4 * 101 * 5).double()

    assert torch.autograd.gradcheck(scored, (hidden, weight), eps=1e-2, atol=1e-3, rtol=1e-2)


def test_bfloat16_weights_get_gradients_as_good_as_one_matmul() -> None:
    hidden, weight, targets = example(torch.bfloat16)
    exact_hidden, exact_weight = (t.detach().float().requires_grad_() for t in (hidden, weight))
    token_log_probs(hidden, weight, targets, chunk_bytes=4 * 101 * 2).sum().backward()
    plain(exact_hidden, exact_weight, targets).sum().backward()
    assert weight.grad is not None
    assert exact_weight.grad is not None
    assert weight.grad.dtype == torch.bfloat16
    assert float((weight.grad.float() - exact_weight.grad).abs().max() / exact_weight.grad.abs().max()) < 0.02


def test_a_frozen_head_gets_no_gradient() -> None:
    hidden, weight, targets = example()
    token_log_probs(hidden, weight.detach(), targets).sum().backward()
    assert hidden.grad is not None
    assert weight.grad is None


def largest_tensor(vocabulary: int) -> int:
    """Elements of the largest tensor that a forward and backward make, weights and their gradient aside."""
    from torch.utils._python_dispatch import TorchDispatchMode

    sizes = [0]

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = func(*args, **(kwargs or {}))
            for value in out if isinstance(out, tuple) else (out,):
                if isinstance(value, Tensor) and value.shape[:1] != (vocabulary,) and value.ndim > 1:
                    sizes.append(value.numel())
            return out

    hidden = torch.randn(400, 8, requires_grad=True)
    weight = torch.randn(vocabulary, 8, requires_grad=True)
    with Watch():
        token_log_probs(hidden, weight, torch.zeros(400, dtype=torch.int64), chunk_bytes=4 * 100_000).sum().backward()
    return max(value for value in sizes if value != vocabulary * 8)


def test_memory_is_flat_in_the_vocabulary() -> None:
    assert largest_tensor(2_000) <= 100_000
    assert largest_tensor(50_000) <= 100_000


def test_logits_and_the_gradient_of_the_weights_are_not_rounded_to_bfloat16() -> None:
    """Inputs in bfloat16, sums in float32: log-probs as float32 has them of the same inputs, and a gradient that is
    rounded once, at the end, in however many chunks it was summed."""
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(n, 64, generator=generator).bfloat16().requires_grad_() for n in (96, 300))
    targets = torch.randint(300, (96,), generator=generator)
    exact_inputs = [t.detach().float().requires_grad_() for t in (hidden, weight)]
    exact = torch.log_softmax(exact_inputs[0] @ exact_inputs[1].T, -1).gather(1, targets[:, None])[:, 0]
    found = token_log_probs(hidden, weight, targets, chunk_bytes=4 * 300 * 8)
    torch.testing.assert_close(found, exact, atol=1e-4, rtol=1e-5)
    exact.sum().backward()
    found.sum().backward()
    whole = token_log_probs(*(again := [t.detach().clone().requires_grad_() for t in (hidden, weight)]), targets)  # type: ignore[call-arg]
    whole.sum().backward()
    for ours, wanted in ((weight.grad, exact_inputs[1].grad), (hidden.grad, exact_inputs[0].grad)):
        assert float((ours.float() - wanted).norm() / wanted.norm()) < 4e-3
    assert float((weight.grad - again[1].grad).float().norm() / again[1].grad.float().norm()) < 1e-3
