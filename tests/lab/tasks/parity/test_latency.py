"""The cluster: a server does what its speed allows, who waits longest goes first, and what is late is rebuilt."""

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.config import parse
from lab.errors import RequestError
from lab.tasks.parity.latency.config import MODES, ServingConfig
from lab.tasks.parity.latency.simulation import Speed, _rebuilt, arrivals, serve, simulate, speeds

SMALL = {"queries": 3000, "servers": 4}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.01, 2), st.sampled_from([0.0, 0.2, 1.0])), min_size=0, max_size=6),
    st.floats(0, 8),
    st.floats(0, 5),
)
def test_work_is_done_once_the_speed_adds_up_to_it(phases, start, work):
    times = np.concatenate([[0.0], np.cumsum([length for length, _ in phases])])
    values = np.array([*(value for _, value in phases), 1.0])
    end = Speed(times, values).until(start, work)
    edges = np.concatenate([times, [max(end, times[-1]) + 1]])
    spans = np.clip(np.minimum(edges[1:], end) - np.maximum(edges[:-1], start), 0, None)
    assert end >= start
    assert (spans * values).sum() == pytest.approx(work, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 40))
def test_a_free_server_takes_who_waits_longest(seed, servers, jobs):
    """Against the recursion of a queue with several servers of speed 1."""
    rng = np.random.default_rng(seed)
    times, work = np.cumsum(rng.exponential(1.0, jobs)), rng.exponential(servers, jobs)
    free = [0.0] * servers
    expected = []
    for time, amount in zip(times, work, strict=True):
        end = max(time, heapq.heappop(free)) + amount
        heapq.heappush(free, end)
        expected.append(end)
    steady = Speed(np.zeros(1), np.ones(1))
    np.testing.assert_allclose(serve(times, work, [steady] * servers), expected)


def test_a_query_is_rebuilt_from_any_k_of_the_other_answers():
    own = np.array([[1.0, 2.0, 9.0]])
    np.testing.assert_allclose(_rebuilt(own, np.array([[4.0]])), [[9, 9, 4]])
    np.testing.assert_allclose(_rebuilt(own, np.array([[4.0, 5.0]])), [[5, 5, 4]])
    np.testing.assert_allclose(_rebuilt(np.array([[7.0]]), np.array([[4.0]])), [[4]])


def test_arrivals_are_poisson_at_the_given_load():
    config = ServingConfig(queries=50_000, load=0.5, servers=10, service=0.02)
    gaps = np.diff(arrivals(config))
    assert config.rate == 250
    assert gaps.mean() == pytest.approx(1 / 250, rel=0.02)
    assert gaps.std() == pytest.approx(1 / 250, rel=0.03)


def test_phases_take_their_share_of_the_time():
    config = ServingConfig(slow_every=4.0, slow_for=1.0, hang_every=9.0, hang_for=1.0, slow_factor=10.0)
    done = [speed.until(0.0, 1000.0) for speed in speeds(config, 0, 20, 5000.0)]
    # Nine tenths of the time a server does not hang; in a fifth of that it does a tenth.
    assert np.mean(1000 / np.array(done)) == pytest.approx(0.9 * (0.8 + 0.02), rel=0.03)


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_is_the_same_each_time_and_no_query_is_lost(mode):
    config = ServingConfig(**SMALL)
    first, again = simulate(config, mode), simulate(config, mode)
    np.testing.assert_array_equal(first.latency, again.latency)
    assert np.isfinite(first.latency).all()
    assert (first.latency > 0).all()
    assert first.second.any() == (mode in ("replication", "parity", "cheap"))


def test_what_protects_shortens_the_tail_and_counts_its_servers():
    config = ServingConfig(queries=20_000, k=3)
    tails = {mode: np.quantile(simulate(config, mode).latency, 0.999) for mode in MODES}
    assert tails["parity"] < tails["none"]
    assert tails["replication"] < tails["none"]
    assert [config.servers_of(mode) for mode in MODES] == [12, 16, 24, 16, 16]
    assert ServingConfig(k=3, r=2).servers_of("parity") == 20


def test_an_own_answer_in_time_is_always_taken():
    config = ServingConfig(**SMALL, patience=3.0)
    served = simulate(config, "cheap")
    assert (served.latency[served.second] >= 3.0 * config.service - 1e-9).all()
    eager = simulate(ServingConfig(**SMALL, patience=0.0), "cheap")
    assert eager.second.mean() > served.second.mean()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"k": 4, "queries": 3}, "k must be at most queries"),
        ({"load": 1.0}, "load"),
        ({"slow_factor": 0.5}, "slow_factor"),
        ({"servers": 0}, "servers"),
        ({"lod": 0.5}, "Did you mean 'load'"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(fields, message):
    with pytest.raises(RequestError, match=message):
        parse(ServingConfig, fields)
