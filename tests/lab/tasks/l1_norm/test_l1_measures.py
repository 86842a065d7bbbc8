"""Measures: the error at any length, the response to single entries, and what float32 leaves."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lab.tasks.l1_norm.cells import CellOptions, make
from lab.tasks.l1_norm.data import sequences
from lab.tasks.l1_norm.measures import (
    LARGEST,
    errors,
    exact_sums,
    outputs_at,
    probe,
    responses,
    sparsity_error,
    summation_floor,
)


def accumulator(weight=1.0, scale=1.0):
    cell = make(CellOptions(cell="notebook"))
    with torch.no_grad():
        cell.weight_hh.fill_(weight)
        cell.weight_ih.fill_(scale)
    return cell


def test_a_scan_gives_the_read_outs_at_the_lengths_asked_for_whatever_the_chunk():
    x = torch.from_numpy(sequences("normal", 3, 70, "test", 0))
    whole = accumulator(0.9)(x)[0]
    for chunk in (1, 7, 10, 70, 200):
        found = outputs_at(accumulator(0.9), x, [1, 10, 7, 70], chunk=chunk)
        torch.testing.assert_close(found, whole[:, [0, 9, 6, 69]])


def test_the_exact_cell_has_the_error_of_a_float32_sum_and_no_other():
    x, lengths = sequences("normal", 8, 2000, "test", 0), [10, 100, 2000]
    with torch.no_grad():
        outputs = outputs_at(accumulator(), torch.from_numpy(x), lengths).numpy()
    assert np.array_equal(errors(outputs, exact_sums(x, lengths)), summation_floor(x, lengths))
    assert 0 < np.median(summation_floor(x, lengths)[:, -1]) < 1e-5


def test_a_recurrent_weight_just_off_one_shows_at_length_only():
    x, lengths = sequences("normal", 8, 10_000, "test", 0), [10, 10_000]
    with torch.no_grad():
        found = errors(outputs_at(accumulator(0.9999), torch.from_numpy(x), lengths).numpy(), exact_sums(x, lengths))
    short, long = np.median(found, axis=0)
    assert short < 1e-3
    assert long == pytest.approx(0.37, abs=0.02)


def test_errors_are_absolute_where_the_exact_sum_is_zero_and_finite_where_outputs_are_not():
    exact = np.array([[0.0], [2.0], [2.0], [2.0], [2.0]])
    outputs = np.array([[0.5], [3.0], [np.inf], [np.nan], [-1e38]], dtype=np.float32)
    assert errors(outputs, exact)[:, 0].tolist() == [0.5, 0.5, LARGEST, LARGEST, LARGEST]


@given(arrays(np.float32, (2, 6), elements=st.floats(-1e6, 1e6, width=32)))
def test_a_beginning_has_the_sum_of_its_own_entries(x):
    expected = [[abs(row[:length].astype(np.float64)).sum() for length in (1, 4, 6)] for row in x]
    np.testing.assert_allclose(exact_sums(x, [1, 4, 6]), expected, rtol=1e-12)


@given(st.floats(0.5, 1.5), st.floats(0.1, 3.0))
def test_the_gain_is_the_recurrent_weight_and_the_responses_are_what_single_entries_give(weight, scale):
    with torch.no_grad():
        found = responses(accumulator(weight, scale)(probe())[0].numpy())
    assert found["gain"] == pytest.approx(weight, rel=1e-4)
    assert found["response/+1"] == pytest.approx(scale, rel=1e-6)
    assert found["response/-1"] == pytest.approx(scale, rel=1e-6)


@given(st.floats(-1.2, 1.2).filter(lambda weight: abs(weight) > 0.5))
def test_the_gain_has_the_sign_of_the_recurrent_weight(weight):
    begun = np.array([1.0, 0.0, 1.0])
    left = begun * weight ** np.arange(100)[:, None]
    assert responses(left.T)["gain"] == pytest.approx(weight, rel=1e-9)


def test_a_recurrent_weight_of_minus_one_is_as_far_from_the_exact_function_as_it_is():
    cell = make(CellOptions(cell="relu", width=2))
    with torch.no_grad():
        cell.weight_i.copy_(torch.tensor([[1.0], [-1.0]]))
        cell.weight_o.fill_(1.0)
        cell.weight_r.fill_(-1.0)
        found = responses(cell(probe())[0].numpy())
    assert (found["gain"], found["response/+1"], found["response/-1"]) == (-1.0, 1.0, 1.0)


def test_a_dead_or_diverging_network_has_finite_responses():
    with torch.no_grad():
        assert responses(accumulator(1.0, -1.0)(probe())[0].numpy())["gain"] == 0
        found = responses(accumulator(1e30, 1.0)(probe())[0].numpy())
    assert all(np.isfinite(value) for value in found.values())


def test_the_sparsity_error_is_the_largest_distance_from_a_sparse_weight():
    assert sparsity_error({"a": torch.tensor([[1.0, -1.0, 0.0]])}) == 0
    assert sparsity_error({"a": torch.tensor([[1.0, -0.9]]), "b": torch.tensor([[0.3]])}) == pytest.approx(0.3)
    assert sparsity_error({"a": torch.tensor([[2.5]])}) == pytest.approx(1.5)
