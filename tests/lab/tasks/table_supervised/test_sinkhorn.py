"""The Sinkhorn layer: plans within their limits, and their exact gradient."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.tables.greedy import assign_batch
from lab.tasks.table_supervised.losses import even_limits
from lab.tasks.table_supervised.sinkhorn import sinkhorn


def random_problem(seed: int, size: int, n: int, slots: int, tables: int = 2):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(tables, size, slots, generator=generator, dtype=torch.float64)
    present = torch.arange(slots).expand(tables, slots) < n
    return scores, present, *even_limits(present, size, torch.float64)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 12), st.integers(1, 14), st.integers(0, 3))
def test_every_entry_is_given_once_and_every_load_lies_between_floor_and_ceiling(seed, size, n, padding):
    scores, present, lower, upper = random_problem(seed, size, n, n + padding)
    plan = sinkhorn(scores, present, lower, upper, 2000)
    assert torch.allclose(plan.sum(dim=-1), torch.ones(2, size, dtype=torch.float64))
    loads = plan.sum(dim=-2)
    assert (plan[..., n:] == 0).all(), "an empty slot got a share"
    assert ((loads - upper)[:, :n] < 1e-3).all()
    assert ((lower - loads)[:, :n] < 1e-3).all()


@pytest.mark.parametrize(("size", "n"), [(6, 4), (6, 3), (5, 7), (4, 1)])
def test_the_gradient_is_that_of_the_converged_plan(size, n):
    scores, present, lower, upper = random_problem(3, size, n, n + 1)
    torch.autograd.gradcheck(
        lambda s: sinkhorn(s, present, lower, upper, 5000), scores.requires_grad_(), eps=1e-5, atol=1e-4, rtol=1e-3
    )


def test_a_sharp_plan_is_a_perfectly_even_table():
    scores, present, lower, upper = random_problem(5, 7, 3, 3)
    plan = sinkhorn(scores / 0.01, present, lower, upper, 20_000)
    assert (plan.amax(dim=-1) > 0.9).all()
    table = plan.argmax(dim=-1).numpy()
    loads = np.stack([np.bincount(row, minlength=3) for row in table])
    assert loads.min() >= 2
    assert loads.max() <= 3
    even = assign_batch(plan.transpose(1, 2).numpy(), present.numpy())
    np.testing.assert_array_equal(table, even)


def test_a_map_over_networks_is_a_loop_over_them():
    scores, present, lower, upper = random_problem(7, 6, 4, 5, tables=3)
    members = torch.stack([scores, 2 * scores]).requires_grad_()
    mapped = torch.func.vmap(lambda s: sinkhorn(s, present, lower, upper, 300))(members)
    looped = torch.stack([sinkhorn(s, present, lower, upper, 300) for s in members])
    torch.testing.assert_close(mapped, looped)
    (of_map,) = torch.autograd.grad(mapped.square().sum(), members)
    (of_loop,) = torch.autograd.grad(looped.square().sum(), members)
    torch.testing.assert_close(of_map, of_loop)


def test_gradients_are_finite_where_plans_are_sharp_in_float32():
    scores, present, lower, upper = random_problem(9, 47, 30, 47)
    sharp = (scores.float() / 0.01).requires_grad_()
    plan = sinkhorn(sharp, present, lower.float(), upper.float(), 20)
    plan.square().sum().backward()
    assert torch.isfinite(sharp.grad).all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=str)
@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.02])
def test_a_table_has_the_same_plan_whichever_others_stand_in_the_batch(dtype, tolerance, temperature):
    scores, _, _, _ = random_problem(11, 13, 13, 13, tables=6)
    present = torch.arange(13) < torch.tensor([1, 3, 7, 9, 12, 13])[:, None]
    problem = ((scores / temperature).to(dtype), present, *even_limits(present, 13, dtype))
    together = sinkhorn(*problem, 300)
    for row in range(6):
        alone = sinkhorn(*(value[row : row + 1] for value in problem), 300)
        torch.testing.assert_close(together[row], alone[0], rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("broken", [float("nan"), float("inf")], ids=str)
def test_a_member_that_is_not_finite_leaves_the_others_alone(dtype, broken):
    scores, present, lower, upper = random_problem(13, 9, 6, 7, tables=2)
    lower, upper = lower.to(dtype), upper.to(dtype)
    members = torch.stack([scores, scores * 3, scores * 5]).to(dtype)
    members[1, 0, 2, 3] = broken

    def loss(one):
        return sinkhorn(one, present, lower, upper, 200).square().sum()

    gradients, values = torch.func.vmap(torch.func.grad_and_value(loss))(members)
    assert not torch.isfinite(values[1])
    for row in (0, 2):
        gradient, value = torch.func.grad_and_value(loss)(members[row])
        torch.testing.assert_close(values[row], value)
        torch.testing.assert_close(gradients[row], gradient)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000), st.integers(2, 13), st.integers(1, 16), st.sampled_from([0.3, 0.05, 0.01, 0.002]))
def test_sharp_scores_neither_overflow_nor_underflow_in_float32(seed, size, n, temperature):
    scores, present, lower, upper = random_problem(seed, size, n, n + 1)
    # One backend that every entry prefers by far, and one that none wants.
    scores[..., 0] += 3.0
    scores[..., n - 1] -= 3.0
    exact = sinkhorn(scores / temperature, present, lower, upper, 64)
    plan = sinkhorn((scores / temperature).float(), present, lower.float(), upper.float(), 64)
    assert torch.isfinite(plan).all()
    torch.testing.assert_close(plan.double(), exact, rtol=0, atol=2e-2)
