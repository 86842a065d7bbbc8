"""Draws by inversion: what a policy does must have the probabilities that its loss thinks it has."""

import pytest
import torch
from scipy.stats import chisquare

from lab.tables.policy_networks import ILLEGAL
from lab.tasks.table_ppo.distribution import InvertedCategorical, draw


def test_actions_come_as_often_as_they_are_likely():
    torch.manual_seed(0)
    logits = torch.tensor([ILLEGAL, 0.3, ILLEGAL, -1.0, 2.0, 0.0, ILLEGAL])
    counts = torch.bincount(draw(logits.expand(200_000, -1)), minlength=7)
    assert not counts[logits == ILLEGAL].any()
    legal = logits != ILLEGAL
    expected = 200_000 * torch.softmax(logits, dim=0)[legal]
    assert chisquare(counts[legal].numpy(), expected.double().numpy(), sum_check=False).pvalue > 1e-3


@pytest.mark.parametrize("number", [0.0, 1 - 2**-24])
def test_the_least_and_the_largest_number_draw_legal_actions(monkeypatch, number):
    monkeypatch.setattr(torch, "rand", lambda *shape, device=None: torch.full(shape, number))
    torch.manual_seed(1)
    for _ in range(200):
        logits = torch.where(torch.rand_like(torch.empty(64, 47)) < 0.4, 5 * torch.randn(64, 47), ILLEGAL)
        logits[:, 11] = 0
        actions = draw(logits)
        assert (logits.gather(1, actions[:, None]) > ILLEGAL).all()


def test_one_number_a_row_is_drawn_and_other_shapes_are_torchs():
    logits = torch.zeros(5, 3)
    torch.manual_seed(3)
    InvertedCategorical.from_logits(logits).sample()
    after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(6)[5:], after)
    assert InvertedCategorical.from_logits(logits).sample(sample_shape=(2,)).shape == (2, 5)
