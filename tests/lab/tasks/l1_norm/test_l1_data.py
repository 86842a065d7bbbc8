"""Sequences: what a network is trained and asked on, and that padding is never read."""

import math

import numpy as np
import pytest
import torch

from lab.config import parse
from lab.errors import RequestError
from lab.tasks.l1_norm import TASK, L1NormConfig
from lab.tasks.l1_norm.cells import CELLS
from lab.tasks.l1_norm.data import RANGES, blocks, longest, sequences, validation_sequences


def batches(config, iteration):
    """The batches of an iteration, one after the other."""
    for block in blocks(config, iteration):
        for number in range(len(block["x"])):
            yield {name: value[number] for name, value in block.items()}


def config(**fields):
    return L1NormConfig(**{"steps": 5, "iterations": 4, "batch_size": 64, "max_length": 6, "width": 2, **fields})


def test_a_batch_holds_sequences_of_all_lengths_with_their_exact_sums():
    lengths = set()
    for batch in batches(config(), 0):
        assert batch["x"].shape == (64, 6)
        assert batch["x"].dtype == batch["y"].dtype == torch.float64
        for row, last, y in zip(batch["x"], batch["last"][:, 0], batch["y"], strict=True):
            lengths.add(int(last) + 1)
            assert (row[: last + 1] != 0).all()
            assert not row[last + 1 :].any()
            assert float(y) == pytest.approx(float(row.abs().sum()), rel=1e-12)
    assert lengths == {1, 2, 3, 4, 5, 6}


def loss_and_gradients(chosen, model, batch):
    loss, _ = TASK.loss(chosen, model, batch, {"regularizer": torch.tensor(0.1)})
    return [loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))]


@pytest.mark.parametrize("length", [6, 23])
@pytest.mark.parametrize("dirt", [1e30, math.inf, math.nan])
@pytest.mark.parametrize("cell", CELLS)
def test_what_is_behind_the_end_reaches_neither_loss_nor_gradient(cell, dirt, length):
    chosen = config(cell=cell, bias=cell in ("relu", "leaky", "notebook"), dtype="float32", max_length=length)
    model = TASK.init(chosen)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()  # no dead unit, a bias that is not 0, a recurrent weight that is not 1
    assert not model.scalars() or model.scalars()["recurrent"] != 1
    batch = next(batches(chosen, 0))
    behind = torch.arange(length) > batch["last"]
    assert behind.any()
    soiled = {**batch, "x": batch["x"].masked_fill(behind, dirt)}
    clean, other = (loss_and_gradients(chosen, model, each) for each in (batch, soiled))
    assert all(torch.isfinite(value).all() for value in clean)
    assert all(torch.equal(*pair) for pair in zip(clean, other, strict=True))


@pytest.mark.parametrize("cell", ["relu", "leaky", "notebook", "irnn"])
def test_a_state_that_diverges_behind_the_end_leaves_the_gradient_alone(cell):
    """Sequences of one or two entries in a batch of sixty: at 50 a step a state overflows after some 23."""
    chosen = config(cell=cell, dtype="float32", max_length=60, batch_size=4)
    model = TASK.init(chosen)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.abs_()
            if name in ("weight_r", "weight_hh"):
                parameter.copy_(50 * torch.eye(len(parameter)))
    last = torch.tensor([[0], [1], [0], [1]])
    x = torch.randn(4, 60, generator=torch.Generator().manual_seed(0)) * (torch.arange(60) <= last)
    batch = {"x": x, "last": last, "y": x.abs().sum(1)}
    with torch.no_grad():
        assert not torch.isfinite(model(x)[0]).all(), "it does diverge"
    padded = loss_and_gradients(chosen, model, batch)
    short = loss_and_gradients(chosen, model, {**batch, "x": x[:, :2]})
    for one, other in zip(padded, short, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("cell", CELLS)
def test_long_sequences_have_the_loss_of_one_scan(cell):
    chosen = config(cell=cell, max_length=25)
    model, batch = TASK.init(chosen), next(batches(chosen, 0))
    outputs, state = model(batch["x"])
    expected = (outputs.gather(1, batch["last"])[:, 0] - batch["y"]).square().mean()
    if cell == "nau":
        expected = expected + 0.1 * state.sparsity
    torch.testing.assert_close(loss_and_gradients(chosen, model, batch)[0], expected.detach())


def test_a_padded_sequence_has_the_loss_that_it_has_alone():
    chosen = config(cell="relu", bias=True, batch_size=8)
    model, batch = TASK.init(chosen), next(batches(chosen, 0))
    loss, _ = TASK.loss(chosen, model, batch, {})
    alone = [
        (model(row[None, : last + 1])[0][0, -1] - y).square()
        for row, last, y in zip(batch["x"], batch["last"][:, 0], batch["y"], strict=True)
    ]
    torch.testing.assert_close(loss, torch.stack(alone).mean())


def test_batches_follow_from_seed_and_iteration_alone():
    def first(iteration, **fields):
        return next(batches(config(**fields), iteration))["x"]

    assert torch.equal(first(1, seed=3), first(1, seed=3, learning_rate=0.5, cell="gru"))
    assert not torch.equal(first(1, seed=3), first(2, seed=3))
    assert not torch.equal(first(1, seed=3), first(1, seed=4))
    assert TASK.stream(config(seed=3)) != TASK.stream(config(seed=4))
    torch.testing.assert_close(first(0, dtype="float32"), first(0).float())


def test_under_the_curriculum_sequences_grow_to_their_full_length_by_half_time():
    chosen = config(curriculum="grow", iterations=4, steps=10)
    lengths = [longest(chosen, step) for step in range(40)]
    assert lengths[0] == 1
    assert lengths == sorted(lengths)
    assert lengths[20:] == [6] * 20
    assert max(int(batch["last"].max()) for batch in batches(chosen, 0)) + 1 <= longest(chosen, 9)
    assert {batch["x"].shape for batch in batches(chosen, 0)} == {(64, 6)}, "shapes stay, lengths grow"


def test_the_ranges_are_what_they_say():
    drawn = {name: sequences(name, 50, 40, "test", 0) for name in RANGES}
    assert all(value.shape == (50, 40) and value.dtype == np.float32 for value in drawn.values())
    assert 0.9 < drawn["normal"].std() < 1.1
    assert np.abs(drawn["uniform"]).max() <= 1
    assert 900 < drawn["times_1000"].std() < 1100
    assert (drawn["negative"] < 0).all()
    assert not drawn["zeros"].any()
    largest = np.abs(drawn["outlier"]).argmax(axis=1)
    assert (largest < 10).all(), "in every beginning that is asked about"
    assert len(set(largest.tolist())) > 1


def test_purposes_share_no_sequence_and_all_members_share_the_validation():
    one, other = (sequences("normal", 4, 9, purpose, 0) for purpose in ("validation", "test"))
    assert not (one == other).any()
    assert np.array_equal(validation_sequences(4, 9).numpy(), one)


def test_an_unknown_range_is_refused_with_the_nearest():
    with pytest.raises(RequestError, match="Did you mean 'normal'"):
        sequences("norml", 1, 1, "test", 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cell": "relu", "signs": "h+_i+"}, "for the cell notebook"),
        ({"cell": "notebook", "signs": "h+_i"}, "Did you mean 'h\\+_i"),
        ({"cell": "notebook", "signs": "h+_i+", "bias": True}, "without biases"),
        ({"cell": "gru", "activation": "leaky"}, "for the cell notebook"),
        ({"cell": "grw"}, "cell"),
        ({"input_range": "zeros"}, "input_range"),
        ({"hold": 1.0}, "hold"),
        ({"width": 0}, "width"),
    ],
)
def test_a_configuration_that_means_nothing_is_refused_in_one_line(fields, message):
    with pytest.raises(RequestError, match=message) as caught:
        parse(L1NormConfig, fields)
    assert "\n" not in str(caught.value)


def test_learning_rates_hold_and_then_fall_to_the_end():
    steps = np.arange(100)
    for schedule in ("cosine", "geometric"):
        chosen = config(schedule=schedule, iterations=10, steps=10, hold=0.3, decay=1e-6, learning_rate=0.1)
        rates = chosen.learning_rates(steps)
        assert rates[:31] == pytest.approx(0.1)
        assert (np.diff(rates[30:]) < 0).all()
        assert chosen.learning_rates(np.array([100]))[0] == pytest.approx(1e-7)
    assert (config(schedule="constant", learning_rate=0.1).learning_rates(steps) == 0.1).all()
