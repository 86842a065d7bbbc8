"""The rule: what it lets pass and what it catches."""

import math

import pytest
import torch
from torch import nn

from lab.tasks.l1_norm.accumulators import LeakyCell, ReluCell
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
    assert violations(drawn(CellOptions(cell=name, width=3)))


def test_a_network_that_starts_at_the_identity_is_set_by_hand():
    found = violations(drawn(CellOptions(cell="irnn", width=3)))
    for name in ("weight_hh", "bias_ih", "bias_hh", "readout_bias"):
        assert f"an initialisation by hand: {name}" in found
    assert "an initialisation by hand: weight_ih" not in found


def test_a_cell_is_left_as_it_was():
    cell = drawn(CellOptions(cell="relu", width=2))
    before = {name: value.clone() for name, value in cell.state_dict().items()}
    violations(cell)
    assert all(torch.equal(value, before[name]) for name, value in cell.state_dict().items())


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
        lambda x: torch.relu(x) + torch.relu(-x),
        lambda x: x + x,
        lambda x: x - (-x),
        lambda x: x.unsqueeze(0).expand(3, -1, -1).sum(0),
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


class Step(ReluCell):
    """A cell within the rule but for what a state and an entry's drive become."""

    def __init__(self, step, recurrent=True):
        super().__init__(2, False)
        self.step = step
        if not recurrent:
            del self.weight_r
        self.initialise(torch.Generator().manual_seed(0))

    def forward(self, x, state=None):
        outputs = []
        for entry in self.drive(x).unbind(0):
            state = entry if state is None else self.step(self, state, entry)
            outputs.append(state)
        return torch.stack(outputs, 1), state


def straight_through(cell, state, entry):
    """A recurrent weight that is used, but not by the gradient of what it does."""
    with torch.no_grad():
        kept = cell.weight_r[0] * state
    return kept + cell.weight_r[0] * entry


STEPS = {
    "a weight that is learned": (lambda cell, state, entry: cell.weight_r[0] * state + entry, None),
    "a state that is added as it is": (lambda cell, state, entry: state + entry, "without a weight"),
    "a state that is added twice": (lambda cell, state, entry: cell.weight_r[0] * state + state + entry, "without a"),
    "a state that is taken away": (lambda cell, state, entry: entry - state, "without a weight"),
    "a state stacked and summed": (lambda cell, state, entry: torch.stack([state, entry]).sum(0), "without a weight"),
    "a state that is rectified": (lambda cell, state, entry: cell.weight_r[0] * torch.relu(state) + entry, "without a"),
    "an absolute value": (
        lambda cell, state, entry: torch.relu(cell.weight_r[0] * state) + torch.relu(-(cell.weight_r[0] * state)),
        "relu(-z) outside",
    ),
    "an absolute value from nothing": (
        lambda cell, state, entry: (
            torch.relu(entry) + torch.relu(cell.weight_r[0] * state - cell.weight_r[0] * state - entry)
        ),
        "relu(-z) outside",
    ),
    "a weight that is cut off": (lambda cell, state, entry: cell.weight_r.detach()[0] * state + entry, "detach"),
    "a weight that only seems learned": (straight_through, "a gradient that is not that of what is computed: weight_r"),
    "a weight that is not used": (lambda cell, state, entry: entry, "a weight that no gradient reaches: weight_r"),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_recurrence_that_is_set_by_hand_is_caught(name):
    step, expected = STEPS[name]
    found = violations(Step(step))
    assert (found == []) == (expected is None)
    assert expected is None or any(expected in line for line in found), found


def test_a_sum_without_any_recurrent_weight_is_caught():
    found = violations(Step(lambda cell, state, entry: state + entry, recurrent=False))
    assert found == ["entries or states without a weight in add"]


class Together(ReluCell):
    """Sums all that it is given in one go, and has a recurrent weight from call to call."""

    def forward(self, x, state=None):
        total = self.drive(x).sum(0)
        total = total if state is None else self.weight_r[0] * state + total
        return total[:, None].expand(-1, x.shape[1]), total


class Hoarding(ReluCell):
    """Keeps all entries as its state, and sums what a layer makes of them."""

    def forward(self, x, state=None):
        kept = x if state is None else torch.cat([state, x], 1)
        drive = (self.weight_r * self.drive(kept)).T
        ends = range(kept.shape[1] - x.shape[1] + 1, kept.shape[1] + 1)
        return torch.stack([drive[:, :end].sum(1) for end in ends], 1), kept


def test_sums_over_entries_at_once_are_caught():
    assert violations(Together(2, False)) == ["entries that are read otherwise together than one by one"]
    assert violations(Hoarding(2, False)) == ["a state that grows"]


def test_a_read_out_that_weights_do_not_touch_is_caught():
    class Echo(ReluCell):
        def forward(self, x, state=None):
            return x, super().forward(x, state)[1]

    assert "a read-out that does not need weights" in violations(Echo(2, False))


def activated(function, slope):
    """A cell with another activation."""
    cell = LeakyCell(2, False, slope)
    cell.activate = function
    return cell


@pytest.mark.parametrize("slope", [-1.0, -0.01, 1.0, 1.5, math.nan])
def test_a_slope_that_is_none_of_a_leaky_relu_is_caught(slope):
    assert any("not in [0, 1)" in line for line in violations(LeakyCell(2, False, slope)))


def test_a_leaky_relu_that_is_written_out_again_is_none_the_worse():
    assert violations(activated(lambda z: torch.relu(z) - 0.1 * torch.relu(-z), 0.1)) == []


@pytest.mark.parametrize(
    "function",
    [
        lambda z: torch.relu(z) + 0.1 * torch.relu(-z),
        lambda z: torch.relu(z) - 0.1 * torch.relu(z),
        lambda z: 0.1 * torch.relu(z),
        lambda z: torch.relu(z) - 0.1 * z,
        lambda z: torch.relu(z) - 0.1 * (0.1 * torch.relu(-z)),
        lambda z: torch.relu(z) - torch.relu(-z),
        lambda z: torch.relu(z) + 0.1,
    ],
)
def test_the_slope_elsewhere_than_in_a_leaky_relu_is_caught(function):
    assert violations(activated(function, 0.1)) != []


def ones(cell):
    cell.weight_r.fill_(1.0)


def near_one(cell):
    cell.weight_r.mul_(0.1).add_(1.0)


def of_size_one(cell):
    cell.weight_r.copy_(cell.weight_r.sign())


def one_entry_alike(cell):
    cell.weight_i[0] = 0.5


def positive(cell):
    cell.weight_o.abs_()


def mirrored(cell):
    cell.weight_i[1] = -cell.weight_i[0]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (ones, "weight_r"),
        (near_one, "weight_r"),
        (of_size_one, "weight_r"),
        (one_entry_alike, "weight_i"),
        (positive, "weight_o"),
        (mirrored, "weights that are drawn together"),
    ],
)
def test_an_initialisation_by_hand_is_caught(change, named):
    class Started(ReluCell):
        def initialise(self, generator):
            super().initialise(generator)
            with torch.no_grad():
                change(self)

    assert violations(Started(2, False)) == [f"an initialisation by hand: {named}"]


def test_the_walk_reaches_every_weight_of_a_cell_within_the_rule_and_names_one_that_it_misses():
    cell = drawn(CellOptions(cell="relu", width=2, bias=True))
    cell.weight_r.requires_grad_(False)
    assert violations(cell) == [], "the walk asks for gradients itself"
    cell.spare = nn.Parameter(torch.zeros(1))
    assert violations(cell) == ["a weight that no gradient reaches: spare"]
