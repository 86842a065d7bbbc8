"""The rule: what it lets pass and what it catches."""

import pytest
import torch
from torch import nn

from lab.tasks.l1_norm.accumulators import ReluCell
from lab.tasks.l1_norm.cells import CELLS, CellOptions, make
from lab.tasks.l1_norm.rule import violations


def drawn(options):
    cell = make(options, "float64")
    cell.initialise(torch.Generator().manual_seed(0))
    return cell


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", [name for name in CELLS if make(CellOptions(cell=name)).within_rule])
def test_a_cell_that_claims_to_be_within_the_rule_is(name, bias):
    assert violations(drawn(CellOptions(cell=name, width=3, bias=bias, slope=0.01))) == []


def test_the_cells_that_claim_it_are_the_relu_and_the_leaky_one():
    assert {name for name in CELLS if make(CellOptions(cell=name)).within_rule} == {"relu", "leaky"}


@pytest.mark.parametrize("name", [name for name in CELLS if not make(CellOptions(cell=name)).within_rule])
def test_the_other_cells_are_caught_or_set_by_hand(name):
    found = violations(drawn(CellOptions(cell=name, width=3)))
    assert found or name == "irnn"


@pytest.mark.parametrize("name", ["relu", "leaky"])
def test_no_weight_within_the_rule_is_set_by_hand(name):
    options = CellOptions(cell=name, width=4, bias=True, slope=0.01)
    states = []
    for seed in range(2):
        cell = make(options)
        cell.initialise(torch.Generator().manual_seed(seed))
        states.append(cell.state_dict())
    for key in states[0]:
        assert (states[0][key] != states[1][key]).all(), key


class Cheat(ReluCell):
    """A cell within the rule but for what is done to its entries."""

    def __init__(self, cheat):
        super().__init__(2, False)
        self.cheat = cheat
        self.initialise(torch.Generator().manual_seed(0))

    def forward(self, x, state=None):
        return super().forward(self.cheat(x), state)


@pytest.mark.parametrize(
    "cheat",
    [
        torch.abs,
        lambda x: torch.where(x < 0, -x, x),
        lambda x: x * (x > 0),
        lambda x: x * x.sign(),
        lambda x: (x * x + 1e-9).sqrt(),
        lambda x: (x * x).pow(0.5),
        lambda x: x.norm(dim=1, keepdim=True) + x,
        lambda x: torch.linalg.vector_norm(x, dim=1, keepdim=True) + x,
        lambda x: torch.maximum(x, -x),
        lambda x: x.max(dim=1, keepdim=True).values + x,
        lambda x: x.clamp(min=0),
        lambda x: x / (1 + x * x),
        lambda x: x.exp(),
        lambda x: x.cumsum(1),
        lambda x: x.mean(1, keepdim=True) + x,
        nn.functional.leaky_relu,
        lambda x: x.detach().abs() * 0 + x,
        lambda x: -x if x.sum() < 0 else x,
        lambda x: x * x.sum().item(),
        lambda x: torch.from_numpy(x.detach().numpy()),
        lambda x: x[x > 0][None],
    ],
)
def test_what_is_not_in_the_rule_is_caught(cheat):
    assert violations(Cheat(cheat)) != []


@pytest.mark.parametrize(
    "cheat",
    [
        lambda x: 2.0 * x,
        lambda x: x + 1,
        lambda x: torch.add(x, x, alpha=-3),
        lambda x: x * torch.tensor([[-1.0]]),
        lambda x: torch.relu(x) + torch.relu(torch.full_like(x, -1.0) * x),
    ],
)
def test_a_number_that_is_not_learned_is_caught(cheat):
    assert violations(Cheat(cheat)) != []


def test_a_buffer_is_caught():
    cell = drawn(CellOptions(cell="relu", width=2))
    cell.register_buffer("by_hand", torch.ones(1))
    assert violations(cell) == ["a tensor that is not learned: by_hand"]


def test_every_weight_is_reached_by_the_walk():
    cell = drawn(CellOptions(cell="relu", width=2))
    cell.weight_r.requires_grad_(False)
    assert violations(cell) == [], "the walk asks for gradients itself"
