"""The losses: what they measure, by identity, and that each one reaches the weights."""

import numpy as np
import pytest
import torch

from lab.tasks.table_supervised import TASK, TableSupervisedConfig
from lab.tasks.table_supervised.losses import FIXED, Losses, losses, standardise

LOSSES = ("validity", "evenness", "stability", "confidence")
FORMS = {
    "notebook-argmax": {"network": "notebook", "decoder": "argmax"},
    "notebook-balanced": {"network": "notebook", "decoder": "balanced"},
    "scorer-argmax": {"decoder": "argmax"},
    "scorer-ranking": {"decoder": "ranking"},
    "scorer-balanced": {"decoder": "balanced"},
    "scorer-balanced-sees": {"decoder": "balanced", "sees_set": True},
    "scorer-argmax-sees": {"decoder": "argmax", "sees_set": True},
    "offsets-alone": {"strata": 0, "decoder": "balanced"},
    "strata-alone": {"frequencies": 0, "decoder": "balanced"},
}


def first_step(seed: int = 0, **fields):
    """The network and the batch of a training's first step, and its configuration."""
    config = TableSupervisedConfig(seed=seed, size=13, n_before=(3, 13), n_after=(1, 13), batch_size=8, **fields)
    return config, TASK.init(config), {name: value[0] for name, value in next(TASK.blocks(config, 0)).items()}


def loss_of(config, model, batch, **other):
    """The loss and its parts, with the knobs of the first step or others."""
    knobs = {**TASK.knobs(config, np.zeros(1, dtype=np.int64)), **other}
    return TASK.loss(config, model, batch, {name: torch.tensor(np.max(value)).float() for name, value in knobs.items()})


def gradients(config, scorer, batch) -> dict[str, float]:
    scorer.zero_grad()
    loss, _ = loss_of(config, scorer, batch)
    loss.backward()
    return {
        name: 0.0 if parameter.grad is None else float(parameter.grad.norm())
        for name, parameter in scorer.named_parameters()
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_parameter_learns_in_step_one(form, seed):
    norms = gradients(*first_step(seed=seed, **FORMS[form]))
    assert norms
    for name, norm in norms.items():
        assert 1e-6 < norm < float("inf"), name


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_alone_moves_the_network_unless_the_form_fixes_it(form, loss):
    alone = {f"weight_{name}": float(name == loss) for name in LOSSES}
    config, scorer, batch = first_step(**FORMS[form], **alone)
    norms = gradients(config, scorer, batch)
    if loss in FIXED[config.decoder]:
        assert set(norms.values()) == {0.0}
        _, parts = loss_of(config, scorer, batch)
        assert float(parts[loss]) == 0.0
    else:
        assert max(norms.values()) > 1e-6


def one_hot(slots: list[int], n_slots: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor([slots]), n_slots).float()


def there(flags: list[int]) -> torch.Tensor:
    return torch.tensor([flags], dtype=torch.bool)


def measured(before: torch.Tensor, after: torch.Tensor, n_before: int, n_after: int, same: list[int]) -> Losses:
    slots = before.shape[-1]
    flags = [there([int(slot < n) for slot in range(slots)]) for n in (n_before, n_after)]
    return losses(before, after, *flags, torch.tensor([same]), "argmax")


def test_stability_goes_by_identity_and_not_by_slot():
    # The first of three backends leaves: whoever stood in slots 1 and 2 stands in 0 and 1.
    before = one_hot([0, 1, 2, 1], 3)
    kept = measured(before, one_hot([1, 0, 1, 0], 3), 3, 2, [-1, 0, 1])
    assert float(kept.stability) == pytest.approx(1 / 4), "only the entry of the backend that left changed"
    same_index = measured(before, one_hot([0, 1, 1, 1], 3), 3, 2, [-1, 0, 1])
    assert float(same_index.stability) == pytest.approx(3 / 4), "equal indices are no equal backends"


def test_validity_is_the_mass_on_empty_slots():
    half = one_hot([0, 1, 2, 2], 3)
    found = measured(half, one_hot([0, 1, 0, 1], 3), 2, 2, [0, 1, -1])
    assert float(found.validity) == pytest.approx(1 / 4), "half of one of the two tables"


def test_evenness_is_the_share_of_entries_beyond_equal_shares():
    found = measured(one_hot([0, 0, 0, 1], 2), one_hot([0, 1, 0, 1], 2), 2, 2, [0, 1])
    assert float(found.evenness) == pytest.approx(1 / 8), "a quarter in one of the two tables"


def test_confidence_is_complete_when_plans_are_tables():
    table, unsure = one_hot([0, 1], 2), torch.full((1, 2, 2), 0.5)
    assert float(measured(table, table, 2, 2, [0, 1]).confidence) == 0.0
    assert float(measured(unsure, table, 2, 2, [0, 1]).confidence) == pytest.approx(1 / 4)


def test_a_temperature_means_the_same_whatever_the_scale_of_the_scores():
    scores = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    present = torch.tensor([[True, True, False, True], [True, True, True, True]])
    torch.testing.assert_close(standardise(7 * scores + 3, present), standardise(scores, present))
    counted = standardise(scores, present)[0][:, present[0]]
    assert float(counted.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(counted.std(correction=0)) == pytest.approx(1.0, abs=1e-4)
