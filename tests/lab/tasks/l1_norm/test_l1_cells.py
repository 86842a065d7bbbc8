"""The cells: the arithmetic that they claim, the same in one scan, in chunks and under vmap."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from lab.tasks.l1_norm.cells import CELLS, CellOptions, make

OPTIONS = [
    *(CellOptions(cell=name, width=3, slope=0.01 if name == "leaky" else 0.0) for name in CELLS if name != "notebook"),
    CellOptions(cell="notebook"),
    CellOptions(cell="notebook", bias=True),
    CellOptions(cell="notebook", bias=True, activation="leaky", slope=0.1),
    CellOptions(cell="relu", width=3, bias=True),
    CellOptions(cell="leaky", width=3, bias=True, slope=0.1),
]
NAMES = ["-".join(f"{value}" for value in options.model_dump().values()) for options in OPTIONS]


def drawn(options, seed=0, dtype="float64"):
    cell = make(options, dtype)
    cell.initialise(torch.Generator().manual_seed(seed))
    return cell


def entries(count, length, dtype=torch.float64, seed=1):
    return torch.randn(count, length, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def tensors(state):
    return [state] if isinstance(state, torch.Tensor) else list(state)


def states_of(cell, x, step):
    """The read-outs of a cell that is called on one entry after another."""
    state, outputs = None, []
    for entry in x.unbind(1):
        state = step(entry[:, None], state)
        outputs.append(state)
    return torch.stack(outputs, 1)


@pytest.mark.parametrize("options", OPTIONS, ids=NAMES)
def test_a_scan_in_chunks_reads_what_one_scan_reads(options):
    cell, x = drawn(options), entries(3, 11)
    whole, end = cell(x)
    first, state = cell(x[:, :4])
    second, last = cell(x[:, 4:], state)
    assert whole.shape == (3, 11)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    for one, other in zip(tensors(last), tensors(end), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("options", OPTIONS, ids=NAMES)
def test_a_mapped_cell_is_the_same_cell(options):
    cells, x = [drawn(options, seed) for seed in range(3)], entries(2, 5)
    parameters, _ = stack_module_state(cells)
    mapped = vmap(lambda weights: functional_call(cells[0], weights, (x,))[0])(parameters)
    torch.testing.assert_close(mapped, torch.stack([cell(x)[0] for cell in cells]))


@pytest.mark.parametrize("options", OPTIONS, ids=NAMES)
def test_every_weight_gets_a_finite_gradient_that_is_not_zero(options):
    cell, x = drawn(options, seed=3), entries(16, 6)
    if options.cell == "notebook":  # one of its units in two is dead at the start, which is the notebook's subject
        with torch.no_grad():
            for parameter in cell.parameters():
                parameter.abs_()
    (cell(x)[0] - x.abs().cumsum(1)).square().mean().backward()
    for name, parameter in cell.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert (parameter.grad != 0).any(), name


@pytest.mark.parametrize("options", OPTIONS, ids=NAMES)
def test_a_cell_trained_in_float64_answers_in_float32_as_its_rounded_weights_do(options):
    cell, x = drawn(options), entries(3, 7, torch.float32)
    rounded = make(options)
    rounded.load_state_dict(cell.state_dict())
    outputs = cell(x)[0]
    assert outputs.dtype == torch.float32
    torch.testing.assert_close(outputs, rounded(x)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", OPTIONS, ids=NAMES)
def test_initialisation_follows_from_the_seed_alone_and_is_the_same_in_both_precisions(options):
    one, same, other = (drawn(options, seed).state_dict() for seed in (5, 5, 6))
    single = drawn(options, 5, "float32").state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    for name, value in one.items():
        torch.testing.assert_close(value.float(), single[name])


def test_the_notebooks_cell_without_its_absolute_value_is_torchs():
    for bias in (False, True):
        cell, theirs = drawn(CellOptions(cell="notebook", bias=bias)), nn.RNNCell(1, 1, bias, "relu").double()
        theirs.load_state_dict(cell.state_dict())
        x = entries(4, 6)
        expected = states_of(theirs, x.abs(), theirs)[:, :, 0]
        torch.testing.assert_close(cell(x)[0], expected)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("irnn", nn.RNNCell(1, 3, nonlinearity="relu")),
        ("tanh", nn.RNNCell(1, 3)),
        ("gru", nn.GRUCell(1, 3)),
        ("lstm", nn.LSTMCell(1, 3)),
    ],
)
def test_a_baseline_is_torchs_cell_with_a_read_out(name, theirs):
    cell, x, theirs = drawn(CellOptions(cell=name, width=3)), entries(4, 6), theirs.double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())))
    weights = cell.state_dict()
    theirs.load_state_dict({key: value for key, value in weights.items() if not key.startswith("readout")})
    hidden, memory, states = torch.zeros(4, 3).double(), torch.zeros(4, 3).double(), []
    for entry in x.unbind(1):
        if name == "lstm":
            hidden, memory = theirs(entry[:, None], (hidden, memory))
        else:
            hidden = theirs(entry[:, None], hidden)
        states.append(hidden)
    expected = torch.stack(states, 1) @ weights["readout_weight"][0] + weights["readout_bias"]
    torch.testing.assert_close(cell(x)[0], expected)


def test_cells_within_the_rule_can_be_the_exact_function():
    for options in (CellOptions(cell="relu", width=2), CellOptions(cell="leaky", width=2, slope=0.01)):
        cell, x = make(options, "float64"), entries(3, 20)
        with torch.no_grad():
            cell.weight_i.copy_(torch.tensor([[1.0], [-1.0]]))
            # A leaky unit takes back a hundredth of the other side.
            cell.weight_o.fill_(1 / (1 - options.slope))
            cell.weight_r.fill_(1.0)
        torch.testing.assert_close(cell(x)[0], x.abs().cumsum(1))


@pytest.mark.parametrize("options", OPTIONS, ids=NAMES)
def test_the_matrices_of_a_cell_are_all_its_weights_but_biases(options):
    cell = drawn(options)
    assert cell.matrices().keys() == {name for name, _ in cell.named_parameters() if not name.startswith("bias")} - {
        "readout_bias"
    }


def test_the_identity_initialised_network_starts_at_the_identity():
    cell = drawn(CellOptions(cell="irnn", width=4))
    assert torch.equal(cell.weight_hh, torch.eye(4).double())
    assert not cell.bias_ih.any()
    assert not cell.bias_hh.any()
    assert 0 < cell.weight_ih.abs().max() < 0.01


def test_a_neural_addition_unit_is_clamped_and_says_how_far_from_sparse_it_is():
    cell = make(CellOptions(cell="nau", width=2), "float64")
    with torch.no_grad():
        cell.weight_i.copy_(torch.tensor([[1.0], [-1.0]]))
        cell.weight.copy_(torch.tensor([[7.0, 1.5, 0.75]]))
    outputs, state = cell(torch.tensor([[2.0, -4.0]]).double())
    assert outputs.tolist() == [[2.0, 5.0]]
    assert state.sparsity.item() == pytest.approx(0.25 / 3)
    assert {name: value.tolist() for name, value in cell.matrices().items()} == {
        "weight_i": [[1.0], [-1.0]],
        "weight": [[1.0, 1.0, 0.75]],
    }
    assert cell.scalars()["recurrent"] == 1.0
    outputs.sum().backward()
    assert (cell.weight.grad != 0).tolist() == [[False, False, True]], "past the clamp there is no way back"
