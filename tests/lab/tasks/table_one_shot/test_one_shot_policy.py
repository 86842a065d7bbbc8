"""Policies over whole tables: REINFORCE learns from their log-probabilities, so these must be those of the draws."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.scenarios import ScenarioConfig, sample_batch, stream
from envs.scoring import table_scores, transition_scores
from lab.tasks.table_one_shot.policy import draw_independent, draw_plackett_luce, needless
from lab.tasks.table_one_shot.task import _imbalance


def case(seed, rows, size, slots):
    rng = np.random.default_rng(seed)
    scores = torch.from_numpy(rng.normal(size=(rows, size, slots)) * 2)
    present = torch.from_numpy(rng.random((rows, slots)) < 0.7)
    present[:, 0] = True
    noise = torch.from_numpy(rng.gumbel(size=(rows, size, slots)))
    return scores, present, noise


def by_steps(scores, present, noise):
    """The slow way: a softmax over the pairs that are legal, one step after the other."""
    size, slots = scores.shape
    n = int(present.sum())
    floor, pool = divmod(size, n)
    loads, table, total = [0] * slots, [-1] * size, [0.0] * size
    for _ in range(size):
        legal = [
            (e, s)
            for e in range(size)
            for s in range(slots)
            if table[e] < 0 and present[s] and (loads[s] < floor or (loads[s] == floor and pool > 0))
        ]
        entry, slot = max(legal, key=lambda pair: float(scores[pair] + noise[pair]))
        log_sum = math.log(sum(math.exp(float(scores[pair])) for pair in legal))
        total[entry] = float(scores[entry, slot]) - log_sum
        pool -= loads[slot] == floor
        loads[slot] += 1
        table[entry] = slot
    return table, total


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 7), st.integers(1, 5))
def test_plackett_luce_is_the_softmax_over_legal_pairs_step_by_step(seed, size, slots):
    scores, present, noise = case(seed, 3, size, slots)
    drawn = draw_plackett_luce(scores, present, noise)
    for row in range(3):
        table, log_probability = by_steps(scores[row], present[row], noise[row])
        assert drawn.table[row].tolist() == table
        np.testing.assert_allclose(drawn.log_probability[row].numpy(), log_probability, atol=1e-9)
    loads = torch.nn.functional.one_hot(drawn.table, slots).sum(dim=1)
    lower = torch.where(present, loads, size).amin(dim=1)
    assert ((loads.amax(dim=1) - lower) <= 1).all()
    assert not (loads * ~present).any()


def test_a_table_is_drawn_as_often_as_its_probability_says():
    """Summed over the orders in which its entries may be given."""
    scores, draws = torch.tensor([[0.3, -0.2], [1.0, 0.1], [-0.4, 0.5]], dtype=torch.float64), 40_000
    noise = torch.from_numpy(np.random.default_rng(1).gumbel(size=(draws, 3, 2)))
    drawn = draw_plackett_luce(scores.expand(draws, 3, 2), torch.ones(draws, 2, dtype=torch.bool), noise)
    counts = {}
    for table in drawn.table.tolist():
        counts[tuple(table)] = counts.get(tuple(table), 0) + 1
    chances = dict.fromkeys(counts, 0.0)
    for order in itertools.permutations(range(3)):
        for slots in itertools.product(range(2), repeat=3):
            if not 0 < sum(slots) < 3:
                continue  # loads of 3 and 0
            chance, given, loads, pool, table = 1.0, set(), [0, 0], 1, [0, 0, 0]
            for entry, slot in zip(order, slots, strict=True):
                legal = [
                    (e, s)
                    for e in range(3)
                    if e not in given
                    for s in range(2)
                    if loads[s] < 1 or (loads[s] == 1 and pool)
                ]
                chance *= math.exp(scores[entry, slot]) / sum(math.exp(scores[pair]) for pair in legal)
                pool -= loads[slot] == 1
                loads[slot] += 1
                given.add(entry)
                table[entry] = slot
            chances[tuple(table)] += chance
    assert sum(chances.values()) == pytest.approx(1)
    for table, chance in chances.items():
        assert counts[table] / draws == pytest.approx(chance, abs=4 * math.sqrt(chance / draws))


def test_every_score_of_a_legal_pair_gets_a_gradient_and_the_others_none():
    scores, present, noise = case(3, 4, 6, 4)
    scores.requires_grad_()
    draw_plackett_luce(scores, present, noise).log_probability.sum().backward()
    assert torch.isfinite(scores.grad).all()
    assert not (scores.grad * ~present[:, None]).any()
    assert (scores.grad.abs().sum(dim=1)[present & (present.sum(dim=1, keepdim=True) > 1)] > 0).all()


def test_entries_by_themselves_are_independent_and_never_go_to_an_empty_slot():
    scores, present, noise = case(5, 50, 6, 4)
    drawn = draw_independent(scores, present, noise)
    assert present.gather(1, drawn.table).all()
    expected = torch.log_softmax(scores.masked_fill(~present[:, None], -torch.inf), dim=2)
    np.testing.assert_allclose(drawn.log_probability, expected.gather(2, drawn.table[..., None])[..., 0])


def test_pay_is_that_of_the_scores_by_identity():
    """Excess and imbalance of random tables: in slots, against `envs.scoring` in columns."""
    size = 13
    batch = sample_batch(ScenarioConfig(size=size), 60, stream("test", 31))
    rng = np.random.default_rng(2)
    columns, tables = [], []
    for present in (batch.before, batch.after):
        slots = np.stack([np.pad(np.flatnonzero(row), (0, size - row.sum()), constant_values=-1) for row in present])
        columns.append(slots)
        tables.append(np.stack([rng.integers(row.sum(), size=size) for row in present]))
    by_column = [np.take_along_axis(c, t, axis=1).astype(np.int32) for c, t in zip(columns, tables, strict=True)]
    same = np.array([[list(b).index(c) if c >= 0 and c in b else -1 for c in a] for a, b in zip(*columns, strict=True)])
    moved = needless(*map(torch.from_numpy, (*tables, same)), torch.from_numpy(columns[1] >= 0))
    expected = transition_scores(*by_column, batch.before, batch.after)
    np.testing.assert_allclose(moved.double().mean(dim=1), expected.excess)
    uneven = _imbalance(torch.from_numpy(tables[0])[None], torch.from_numpy(columns[0] >= 0))[0]
    np.testing.assert_allclose(uneven, table_scores(by_column[0], batch.before).imbalance)
