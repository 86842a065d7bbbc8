"""A code that is not exact where it must be would pass its faults on to every figure that is measured with it."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lab.errors import RequestError
from lab.tasks.parity.codes import DECODERS, ENCODERS, Berrut, Fallback, Grid, Parity, Spline, Tiled
from lab.tasks.parity.codes.erasures import erasures, losses_of_queries
from lab.tasks.parity.codes.matrices import (
    berrut,
    chebyshev_points,
    linear_decoder,
    natural_spline,
    query_points,
    vandermonde,
)

SHAPE, CLASSES = (3, 4, 6), 5


def linear_base(seed=0):
    model = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(SHAPE)), CLASSES))
    nn.init.normal_(model[1].weight, generator=torch.Generator().manual_seed(seed))
    nn.init.normal_(model[1].bias, generator=torch.Generator().manual_seed(seed + 1))
    return model.double()


def exact_parity_model(base, weights):
    """(W, b times the sum of the code's weights): what a parity model of a linear base has to be."""
    model = linear_base()
    model.load_state_dict(base.state_dict())
    model[1].bias.data *= float(weights.sum())
    return model


def exact_scheme(k, r, encoder="vandermonde", decoder="linear"):
    base = linear_base()
    models = [exact_parity_model(base, row) for row in vandermonde(k, r)]
    coder = ENCODERS[encoder](k, r, SHAPE).double()
    return base, Parity(k, coder, models, DECODERS[decoder](k, r, CLASSES))


def groups(k, seed, count=7):
    return torch.randn(count, k, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def predictions_of(base, queries):
    return base(queries.flatten(0, 1)).unflatten(0, queries.shape[:2])


def test_addition_and_subtraction_are_exact_with_a_linear_base():
    for k in (2, 3, 4):
        base, scheme = exact_scheme(k, 1, "addition", "subtraction")
        queries = groups(k, k)
        predictions = predictions_of(base, queries)
        answers = scheme.answers(queries, predictions)
        for erasure in scheme.erasures:
            rebuilt = scheme.rebuild(answers, erasure.arrived)
            torch.testing.assert_close(rebuilt, predictions)
            assert torch.equal(rebuilt.argmax(-1), predictions.argmax(-1))


@given(st.integers(2, 5), st.integers(1, 3), st.integers(0, 99), st.data())
def test_the_weighted_code_is_exact_for_any_erasures(k, r, seed, data):
    base, scheme = exact_scheme(k, r)
    queries = groups(k, seed)
    predictions = predictions_of(base, queries)
    answers = scheme.answers(queries, predictions).detach()
    lost = data.draw(st.sets(st.integers(0, k + r - 1), max_size=r))
    answers[:, list(lost)] = torch.nan  # what is lost is never read
    arrived = [i not in lost for i in range(k + r)]
    torch.testing.assert_close(scheme.rebuild(answers, arrived), predictions.detach(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("decoder", ["linear", "mlp"])
def test_without_erasures_predictions_are_the_base_models_bit_for_bit(decoder):
    base, scheme = exact_scheme(3, 2)
    scheme.decoder = DECODERS[decoder](3, 2, CLASSES).double()
    queries = groups(3, 5)
    predictions = predictions_of(base, queries)
    answers = scheme.answers(queries, predictions)
    assert torch.equal(scheme.rebuild(answers, [True] * 5), predictions)
    partly = scheme.rebuild(answers, [True, False, True, True, True])
    assert torch.equal(partly[:, [0, 2]], predictions[:, [0, 2]])


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("k", [2, 3, 4])
def test_channels_are_coded_with_themselves_alone(encoder, k):
    coder = ENCODERS[encoder](k, 1, SHAPE)
    queries = groups(k, 1).float()
    changed = queries.clone()
    changed[:, :, 1] += 1
    with torch.no_grad():
        before, after = coder(queries), coder(changed)
    assert before.shape == (7, 1, *SHAPE)
    torch.testing.assert_close(before[:, :, [0, 2]], after[:, :, [0, 2]])
    assert not torch.allclose(before[:, :, 1], after[:, :, 1])


def test_the_sum_of_colour_images_has_red_on_red():
    queries = torch.zeros(1, 2, 3, 2, 2)
    queries[0, 0, 0], queries[0, 1, 0], queries[0, 1, 2] = 1, 2, 5
    parity = ENCODERS["addition"](2, 1, (3, 2, 2))(queries)
    assert parity[0, 0].mean(dim=(1, 2)).tolist() == [3, 0, 5]


def test_concatenation_puts_images_side_by_side_or_in_quadrants():
    plain = torch.arange(1.0, 5)[None, :, None, None, None].expand(1, 4, 1, 2, 4)
    assert ENCODERS["concatenation"](2, 1, (1, 2, 4))(plain[:, :2])[0, 0, 0].tolist() == [[1, 1, 2, 2]] * 2
    assert ENCODERS["concatenation"](3, 1, (1, 2, 4))(plain[:, :3])[0, 0, 0].tolist() == [[1, 1, 2, 2], [3, 3, 0, 0]]
    assert ENCODERS["concatenation"](4, 1, (1, 2, 4))(plain)[0, 0, 0].tolist() == [[1, 1, 2, 2], [3, 3, 4, 4]]


def test_concatenation_of_many_leaves_what_no_tile_covers_black():
    plain = torch.arange(1.0, 8)[None, :, None, None, None].expand(1, 7, 2, 7, 8)
    image = ENCODERS["concatenation"](7, 1, (2, 7, 8))(plain)[0, 0]
    assert image[0, ::2].tolist() == [
        [1, 1, 2, 2, 3, 3, 0, 0],
        [4, 4, 5, 5, 6, 6, 0, 0],
        [7, 7, 0, 0, 0, 0, 0, 0],
        [0] * 8,
    ]
    assert torch.equal(image[0], image[1])


@given(st.integers(2, 16))
def test_a_parity_model_that_sees_tiles_answers_each_query_as_one_that_sees_it_small(k):
    grid = Grid(k, (2, 12, 20))
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * math.prod(grid.tile), CLASSES))
    scheme = Parity(
        k,
        ENCODERS["concatenation"](k, 1, (2, 12, 20)),
        [Tiled(model, grid)],
        DECODERS["selection"](k, 1, CLASSES),
    )
    queries = torch.randn(3, k, 2, 12, 20)
    predictions = torch.randn(3, k, CLASSES)
    small = nn.functional.adaptive_avg_pool2d(queries.flatten(0, 1), grid.tile)
    with torch.no_grad():
        answers, alone = scheme.answers(queries, predictions), model(small).unflatten(0, (3, k))
    for place, erasure in enumerate(scheme.erasures):
        rebuilt = scheme.rebuild(answers, erasure.arrived)
        torch.testing.assert_close(rebuilt[:, place], alone[:, place])
        others = [other for other in range(k) if other != place]
        assert torch.equal(rebuilt[:, others], predictions[:, others])


@pytest.mark.parametrize(("k", "shape"), [(2, (1, 28, 27)), (4, (1, 27, 28)), (3, (1, 161, 101)), (12, (1, 2, 9))])
def test_concatenation_refuses_what_it_cannot_halve(k, shape):
    with pytest.raises(RequestError, match="concatenation"):
        ENCODERS["concatenation"](k, 1, shape)


def test_every_square_part_of_the_weights_can_be_inverted():
    weights = vandermonde(5, 3)
    assert weights[0].tolist() == [1] * 5
    for size in (1, 2, 3):
        for rows in itertools.combinations(range(3), size):
            for columns in itertools.combinations(range(5), size):
                assert abs(np.linalg.det(weights[np.ix_(rows, columns)])) > 1e-6


def test_subtraction_is_written_without_rounding():
    assert linear_decoder(vandermonde(3, 1), [True, False, True, True])[1].tolist() == [-1, 0, -1, 1]


@pytest.mark.parametrize(("k", "r", "count"), [(2, 1, 2), (4, 1, 4), (2, 2, 5), (3, 2, 9)])
def test_every_way_to_lose_r_answers_is_there_once(k, r, count):
    found = erasures(k, r)
    assert len({erasure.arrived for erasure in found}) == len(found) == count
    assert all(sum(erasure.arrived) == k and any(erasure.rebuilt) for erasure in found)
    assert [erasure.name for erasure in losses_of_queries(2, 1)] == ["q0", "q1"]


@given(st.integers(2, 9), st.data())
def test_berrut_passes_through_its_nodes_and_has_no_poles(workers, data):
    nodes = chebyshev_points(workers)
    kept = sorted(data.draw(st.sets(st.integers(0, workers - 1), min_size=2)))
    nodes = nodes[kept]
    np.testing.assert_allclose(berrut(nodes, nodes), np.eye(len(nodes)), atol=1e-12)
    dense = berrut(nodes, np.linspace(-1, 1, 401))
    assert np.isfinite(dense).all()
    np.testing.assert_allclose(dense.sum(axis=1), 1, atol=1e-9)
    inside = berrut(nodes, np.linspace(nodes.min(), nodes.max(), 401))
    assert np.abs(inside).max() < 50


def test_berrut_is_its_formula():
    nodes, point = np.array([1.0, 0.0, -1.0]), 0.5
    terms = np.array([1 / (point - 1), -1 / (point - 0), 1 / (point + 1)])
    np.testing.assert_allclose(berrut(nodes, np.array([point]))[0], terms / terms.sum())


@given(st.integers(2, 8), st.floats(0, 10), st.floats(-2, 2), st.floats(-2, 2))
def test_a_smoothing_spline_keeps_lines(n, smoothing, slope, height):
    nodes, points = query_points(n), np.linspace(-1.5, 1.5, 9)
    found = natural_spline(nodes, points, smoothing) @ (slope * nodes + height)
    np.testing.assert_allclose(found, slope * points + height, atol=1e-6)


def test_a_smoothing_spline_is_scipys_where_that_has_enough_points():
    from scipy.interpolate import make_smoothing_spline

    nodes = np.sort(query_points(8))
    values, points = np.random.default_rng(0).normal(size=8), np.linspace(nodes[0], nodes[-1], 50)
    found = natural_spline(nodes, points, 0.01) @ values
    np.testing.assert_allclose(found, make_smoothing_spline(nodes, values, lam=0.01)(points), atol=1e-8)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_interpolation_through_a_linear_model_with_two_queries_is_exact_and_finite_beyond(k):
    base = linear_base()
    queries = groups(k, 3)
    predictions = predictions_of(base, queries).detach()
    for scheme in (
        Berrut(k, 1, base, systematic=True),
        Berrut(k, 1, base, systematic=False),
        Spline(k, 1, base, encoder_smoothing=0.0, decoder_smoothing=0.0),
    ):
        answers = scheme.answers(queries, predictions).detach()
        assert answers.shape == (7, k + 1, CLASSES)
        for erasure in scheme.erasures:
            rebuilt = scheme.rebuild(answers, erasure.arrived)
            assert torch.isfinite(rebuilt).all()
            if k == 2 and not isinstance(scheme, Berrut):
                torch.testing.assert_close(rebuilt, predictions)
        if scheme.systematic:
            assert torch.equal(scheme.rebuild(answers, [True] * (k + 1)), predictions)
            if k == 2:
                torch.testing.assert_close(scheme.rebuild(answers, [False, True, True]), predictions)


def test_a_replica_is_as_good_as_what_is_lost():
    scheme = Fallback(2, 1, lambda queries, predictions: predictions, extra=2)
    predictions = torch.randn(3, 2, CLASSES, generator=torch.Generator().manual_seed(0))
    answers = scheme.answers(torch.zeros(3, 2, *SHAPE), predictions)
    for erasure in scheme.erasures:
        assert torch.equal(scheme.rebuild(answers, erasure.arrived), predictions)
