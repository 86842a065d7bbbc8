"""The two scorers: what they read, and what a score depends on."""

import numpy as np
import pytest
import torch

from lab.config import parse
from lab.errors import RequestError
from lab.tables.networks import PAIRS, EquivariantOptions, EquivariantScorer, NotebookNetwork, NotebookOptions

SHAPES = {
    "blind": {},
    "sees": {"sees_set": True},
    "offsets": {"strata": 0, "frequencies": 6},
    "strata": {"strata": 4, "frequencies": 0},
    "shallow": {"depth": 0},
}


def random_set(n: int, slots: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    present = np.arange(slots)[None] < n
    hashes = rng.integers(0, 2**64, (1, slots, 4), dtype=np.uint64) * present[..., None].astype(np.uint64)
    return hashes, present


def equivariant(shape: str) -> EquivariantScorer:
    scorer = EquivariantScorer(EquivariantOptions(**SHAPES[shape])).double()
    scorer.initialise(torch.Generator().manual_seed(1))
    return scorer


def scores_of(scorer, hashes, present, size: int) -> np.ndarray:
    features = torch.from_numpy(scorer.features(hashes, present, size))
    with torch.no_grad():
        return scorer(features, torch.from_numpy(present)).numpy()


def test_the_notebooks_network_stands_as_the_notebook_has_it():
    m = 11
    network = NotebookNetwork(NotebookOptions(size=m))
    shapes = [(layer.in_features, layer.out_features) for layer in network.layers if isinstance(layer, torch.nn.Linear)]
    assert shapes == [(4 * m, m), (m, m), (m, m * m)]
    hashes, present = random_set(n=3, slots=5)
    read = network.features(hashes, present, m)
    assert read.shape == (1, 4 * m)
    np.testing.assert_array_equal(read[0, :12], (hashes[0, :3] % np.uint64(m)).ravel())
    np.testing.assert_array_equal(read[0, 12:], 0.0)
    assert scores_of(network.double(), hashes, present, m).shape == (1, m, 5)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_backends_scores_go_with_it_into_any_slot(shape):
    hashes, present = random_set(n=6, slots=6)
    scorer = equivariant(shape)
    order = [3, 5, 0, 1, 4, 2]
    np.testing.assert_allclose(
        scores_of(scorer, hashes[:, order], present, 13),
        scores_of(scorer, hashes, present, 13)[:, :, order],
        atol=1e-12,
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_only_a_scorer_that_sees_the_set_heeds_the_other_backends(shape):
    hashes, present = random_set(n=6, slots=6)
    scorer = equivariant(shape)
    alone = scores_of(scorer, hashes[:, :5], present[:, :5], 13)
    together = scores_of(scorer, hashes, present, 13)[:, :, :5]
    assert np.allclose(alone, together, atol=1e-12) == (shape != "sees")


@pytest.mark.parametrize("shape", SHAPES)
def test_empty_slots_change_no_score(shape):
    scorer = equivariant(shape)
    hashes, present = random_set(n=4, slots=9)
    padded = scores_of(scorer, hashes, present, 13)[:, :, :4]
    np.testing.assert_allclose(padded, scores_of(scorer, hashes[:, :4], present[:, :4], 13), atol=1e-12)


def test_each_stratum_of_a_backend_holds_one_entry():
    hashes, present = random_set(n=5, slots=5)
    size = 47
    scorer = EquivariantScorer(EquivariantOptions(frequencies=0, strata=4))
    quantiles = scorer.features(hashes, present, size)[..., :4]
    uniform = torch.special.ndtr(torch.from_numpy(quantiles)).numpy()
    strata = np.sort(np.floor(uniform * size + 1e-9), axis=1)
    assert (strata == np.arange(size)[:, None, None]).all()
    assert len(np.unique(quantiles.round(9), axis=-1)[0, 0]) == 5


def test_the_offset_of_an_entry_is_its_way_from_the_hash_around_the_ring():
    hashes, present = random_set(n=3, slots=3)
    size = 10
    waves = EquivariantScorer(EquivariantOptions(frequencies=2, strata=0)).features(hashes, present, size)
    entry, slot, k = 7, 2, 3
    offset = (entry - int(hashes[0, slot, k]) % size) % size
    turns = 2 * np.pi * offset / size * np.array([1, 2])
    expected = np.concatenate([np.cos(turns), np.sin(turns)])
    np.testing.assert_allclose(waves[0, entry, slot, 4 * k : 4 * k + 4], expected, atol=1e-12)


def test_weights_come_from_the_generator_alone():
    scorer = equivariant("sees")
    first = {name: value.clone() for name, value in scorer.state_dict().items()}
    scorer.initialise(torch.Generator().manual_seed(1))
    assert all(torch.equal(first[name], value) for name, value in scorer.state_dict().items())
    before = torch.random.get_rng_state()
    scorer.initialise(torch.Generator().manual_seed(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert any(not torch.equal(first[name], value) for name, value in scorer.state_dict().items())


@pytest.mark.parametrize(
    ("kind", "values", "says"),
    [
        (EquivariantOptions, {"decoder": "ranking", "sees_set": True}, "do not see the set"),
        (EquivariantOptions, {"frequencies": 0, "strata": 0}, "something to read"),
        (EquivariantOptions, {"widht": 3}, "width"),
        (NotebookOptions, {"size": 7, "decoder": "ranking"}, "do not see the set"),
        (NotebookOptions, {"size": 0}, "greater than or equal to 1"),
        (NotebookOptions, {"size": 7, "decoder": "greedy"}, "argmax"),
    ],
)
def test_a_shape_that_makes_no_sense_is_refused_in_one_line(kind, values, says):
    with pytest.raises(RequestError, match=says) as refused:
        parse(kind, values)
    assert "\n" not in str(refused.value)


def test_tables_beyond_a_network_are_refused():
    notebook = NotebookNetwork(NotebookOptions(size=7))
    with pytest.raises(RequestError, match="expected size 7"):
        notebook.check(11, 3)
    with pytest.raises(RequestError, match="at most 7 backends"):
        notebook.check(7, 8)
    with pytest.raises(RequestError, match="pairs"):
        EquivariantScorer(EquivariantOptions()).check(PAIRS, 2)
    with pytest.raises(RequestError, match="a slot each"):
        EquivariantScorer(EquivariantOptions(decoder="argmax")).check(5, 6)
