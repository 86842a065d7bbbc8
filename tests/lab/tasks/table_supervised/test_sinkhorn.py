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
