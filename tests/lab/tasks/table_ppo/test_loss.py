"""The policy loss in closed form, against autograd."""

import hypothesis.strategies as st
import torch
from hypothesis import given, settings

from lab.tables.policy_networks import mask_scores
from lab.tasks.table_ppo.loss import policy_loss


def plain(logits, actions, old_logp, advantages, clip, entropy_coeff):
    """The same, as torch's own distribution and autograd have it."""
    policy = torch.distributions.Categorical(logits=logits)
    ratio = (policy.log_prob(actions) - old_logp).exp()
    surrogate = torch.min(advantages * ratio, advantages * ratio.clamp(1 - clip, 1 + clip)).mean()
    return -surrogate - entropy_coeff * policy.entropy().mean(), policy.entropy().mean()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    rows=st.integers(1, 12),
    slots=st.integers(1, 9),
    spread=st.sampled_from([0.0, 0.3, 10.0]),
    clip=st.floats(0.05, 0.5),
    entropy_coeff=st.floats(0, 0.5),
)
def test_value_and_gradient_are_those_of_autograd(seed, rows, slots, spread, clip, entropy_coeff):
    generator = torch.Generator().manual_seed(seed)
    scores = spread * torch.randn(rows, slots, generator=generator, dtype=torch.float64)
    mask = torch.rand(rows, slots, generator=generator) < 0.6
    actions = torch.randint(slots, (rows,), generator=generator)
    mask[torch.arange(rows), actions] = True
    before = mask_scores(scores + 0.3 * torch.randn(rows, slots, generator=generator, dtype=torch.float64), mask)
    old_logp = torch.log_softmax(before, dim=1).gather(1, actions[:, None])[:, 0]
    advantages = torch.randn(rows, generator=generator, dtype=torch.float64)
    results = []
    for loss in (plain, lambda *given: policy_loss(*given[:4], clip=given[4], entropy_coeff=given[5])):
        logits = mask_scores(scores, mask).requires_grad_()
        value, entropy = loss(logits, actions, old_logp, advantages, clip, entropy_coeff)
        (gradient,) = torch.autograd.grad(3 * value, logits)
        assert gradient[~mask].abs().sum() == 0
        results.append((value.detach(), entropy.detach(), gradient))
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-9, rtol=1e-7)
