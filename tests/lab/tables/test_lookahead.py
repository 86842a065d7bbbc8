"""Tables that look ahead: even, stateless, the best answer to the tables they ask, and the same on every machine."""

import hashlib
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.scenarios import churn_batch, stream
from envs.scoring import even_loads, loads, table_scores, transition_scores
from lab.errors import RequestError
from lab.tables import build_batch, learned, lookahead
from lab.tables.lookahead import HEAVIEST, MAX_LEVEL, LookaheadOptions, LookaheadTables, joiners_of, most_votes
from lab.tables.priced import UNIT


def tables_of(size=11, joiners=3, **roles):
    """`n5=(1, 10, 0)` is the role of five backends."""
    tables = LookaheadTables(LookaheadOptions(size=size, joiners=joiners))
    for name, role in roles.items():
        tables.roles[int(name[1:])] = role
    return tables


def drawn(seed, size=11):
    rng = np.random.default_rng(seed)
    tables = tables_of(size)
    tables.roles[:] = rng.integers(0, [MAX_LEVEL, HEAVIEST, HEAVIEST], endpoint=True, size=tables.roles.shape)
    tables.prices[:] = rng.integers(-UNIT, 2 * UNIT, size=tables.prices.shape)
    return tables


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 11))
def test_every_table_is_valid_and_exactly_even_whatever_was_learned(seed, n):
    batch = churn_batch(11, max(n, 2), 3, np.random.default_rng(seed))
    present = batch.before if n > 1 else batch.before & (np.arange(2) == seed % 2)
    scores = table_scores(drawn(seed).build_batch(batch.hashes, present, 11), present)
    assert (scores.invalid == 0).all()
    assert (scores.spread <= 1).all()


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(2, 11), st.integers(0, 4))
def test_no_table_is_above_its_cap_and_every_entry_has_a_backend(seed, n, extra):
    batch, tables = churn_batch(11, n, 3, np.random.default_rng(seed)), drawn(seed)
    tables.caps[n] = cap = min(11, -(-11 // n) + extra)
    assert not tables.exact
    found = tables.build_batch(batch.hashes, batch.before, 11)
    assert (table_scores(found, batch.before).invalid == 0).all()
    assert loads(found, n).max() <= cap


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.integers(1, 400))
def test_neither_absent_backends_nor_the_batch_a_set_stands_in_matter(seed, cells):
    rng = np.random.default_rng(seed)
    batch, tables = churn_batch(11, 6, 4, rng), drawn(seed)
    together = tables.build_batch(batch.hashes, batch.after, 11)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookahead, "_CELLS_AT_ONCE", cells)
        for row in range(4):
            here = batch.after[row]
            alone = tables.build_batch(batch.hashes[row : row + 1, here], np.ones((1, 5), dtype=bool), 11)
            np.testing.assert_array_equal(np.flatnonzero(here)[alone[0]], together[row])


@pytest.mark.parametrize("n", [3, 7, 10, 16, 27, 40])
def test_without_looking_it_is_balanced_rendezvous(n):
    batch = churn_batch(47, n, 8, stream("validation", 91, n))
    tables = LookaheadTables(LookaheadOptions(size=47)).build_batch(batch.hashes, batch.before, 47)
    same = tables == build_batch("balanced-stratified", batch.hashes, batch.before, 47)
    # Fewer bits of a score are compared here.
    assert same.mean() > 0.999


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 6))
def test_no_table_that_is_as_even_has_more_votes(seed, n, size):
    """Against every table."""
    values = np.random.default_rng(seed).integers(0, 50, size=(size, n))
    least, most = even_loads(np.ones((1, n), dtype=bool), size).min(), -(-size // n)

    def worth(table):
        return values[np.arange(size), list(table)].sum()

    def within(table, cap=0):
        counts = np.bincount(table, minlength=n)
        return counts.max() <= cap if cap else counts.min() >= least and counts.max() <= most

    for cap in (0, most, most + 1):
        found = most_votes(values, cap)
        assert within(found, cap)
        tables = itertools.product(range(n), repeat=size)
        assert worth(found) == max(worth(table) for table in tables if within(table, cap))


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(2, 9), st.booleans())
def test_a_table_moves_no_more_than_without_looking_to_the_tables_it_asks(seed, n, below):
    """Below: the sets without each backend. Above: those with each joiner more. Neither of them looks."""
    role = (1, HEAVIEST, 0) if below else (1, 0, HEAVIEST)
    plain, looks = tables_of(), tables_of(**{f"n{n}": role})
    hashes = churn_batch(11, n, 1, np.random.default_rng(seed)).hashes
    if below:
        hashes, before = np.repeat(hashes, n, axis=0), np.ones((n, n), dtype=bool)
        after = ~np.eye(n, dtype=bool)
    else:
        hashes = np.concatenate([np.repeat(hashes, 3, axis=0), joiners_of(3, 1)[:, None]], axis=1)
        before, after = np.ones((3, n + 1), dtype=bool), np.ones((3, n + 1), dtype=bool)
        before[:, n] = False
    neighbours = plain.build_batch(hashes, after, 11)
    moves = [
        transition_scores(tables.build_batch(hashes, before, 11), neighbours, before, after).excess.mean()
        for tables in (looks, plain)
    ]
    assert moves[0] <= moves[1] + 1e-12


def test_two_that_look_at_each_other_do_not_go_on_for_ever_and_the_further_one_follows():
    """Five look one ahead, at six that do not look; six look two ahead, at five as they are."""
    roles = {"n5": (1, 0, HEAVIEST), "n6": (2, HEAVIEST, 0)}
    both, follows = tables_of(**roles), tables_of(n5=roles["n5"])
    batch = churn_batch(11, 6, 40, stream("validation", 92))
    after = both.build_batch(batch.hashes, batch.after, 11)
    np.testing.assert_array_equal(after, follows.build_batch(batch.hashes, batch.after, 11))

    def excess(tables):
        before = tables.build_batch(batch.hashes, batch.before, 11)
        return transition_scores(before, after, batch.before, batch.after).excess.mean()

    assert excess(both) < excess(follows)


def test_at_the_six_numbers_of_the_suite_it_moves_less_than_any_classical_table_that_is_exactly_even():
    """Pair by pair, on validation fleets: the 95 % interval of the difference is below 0."""
    numbers = (3, 5, 7, 10, 16, 27)
    tables = LookaheadTables(LookaheadOptions(size=47, joiners=8))
    for n in numbers:
        tables.roles[n], tables.roles[n - 1] = (2, HEAVIEST, 0), (1, 0, HEAVIEST)
    differences = []
    for n in numbers:
        batch = churn_batch(47, n, 40, stream("validation", 93, n))
        sets = (batch.before, batch.after)
        own = [tables.build_batch(batch.hashes, present, 47) for present in sets]
        peer = [build_batch("balanced-stratified", batch.hashes, present, 47) for present in sets]
        ours, theirs = (transition_scores(*each, *sets).excess for each in (own, peer))
        differences.append(ours - theirs)
    error = np.sqrt(sum(each.var() / len(each) for each in differences)) / len(numbers)
    assert np.mean(differences) + 1.96 * error < 0


def test_the_same_tables_on_every_machine():
    """Integers alone: a digest of tables of drawn roles and prices at two sizes."""
    digest = hashlib.sha256()
    for size in (11, 47):
        batch = churn_batch(size, 7, 8, stream("validation", 94, size))
        digest.update(drawn(5, size).build_batch(batch.hashes, batch.after, size).tobytes())
    assert digest.hexdigest() == "fd0d543af967ddf92b328976b20bedf5621b7f739645a25b7a5ff41785f97eaa"


def test_an_artefact_comes_back_as_it_was(tmp_path):
    tables = drawn(3)
    learned.save(tmp_path, "lookahead", {"size": 11, "joiners": 3}, tables.state_dict(), {"size": 11})
    builder = learned.load(tmp_path)
    batch = churn_batch(11, 5, 10, stream("validation", 95))
    assert builder.exact
    np.testing.assert_array_equal(
        builder.build_batch(batch.hashes, batch.before, 11, None), tables.build_batch(batch.hashes, batch.before, 11)
    )
    with pytest.raises(RequestError, match="expected the size of these roles, 11, but got 47"):
        builder.check(47, 5)
    with pytest.raises(RequestError, match="at most 11 backends"):
        builder.check(11, 12)


def whole(prices=0, role=(0, 0, 0), cap=0):
    roles, caps = torch.zeros(12, 3, dtype=torch.int64), torch.zeros(12, dtype=torch.int64)
    roles[4], caps[4] = torch.tensor(role), cap
    return {"prices": torch.full((12, 12), prices, dtype=torch.int64), "roles": roles, "caps": caps}


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({**whole(), "roles": torch.zeros(12, 3)}, "int64"),
        ({**whole(), "prices": torch.zeros(11, 12, dtype=torch.int64)}, "prices"),
        ({"prices": whole()["prices"]}, "roles"),
        (whole(prices=1 << 40), "1024 units"),
        (whole(role=(3, 0, 0)), r"roles from 0 to \[2, 10, 10\]"),
        (whole(role=(1, -1, 0)), "roles from 0"),
        (whole(role=(1, 0, 11)), "roles from 0"),
        (whole(cap=2), "caps from the ceiling"),
        (whole(cap=12), "caps from the ceiling"),
    ],
    ids=["type", "shape", "name", "price", "level", "below", "above", "low", "high"],
)
def test_other_tensors_are_refused(tmp_path, state, said):
    learned.save(tmp_path, "lookahead", {"size": 11, "joiners": 3}, state, {})
    with pytest.raises(RequestError, match=said):
        learned.load(tmp_path)


@pytest.mark.parametrize("options", [{"size": 1}, {"size": 513}, {"size": 47, "joiners": 0}, {"joiners": 3}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(RequestError):
        lookahead.table_of_lookahead(options)
