"""Tables of a sequential policy: what a load balancer relies on."""

import subprocess
import sys
import uuid

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.backends import hashes_of, sort_order
from envs.errors import RequestError
from envs.features import PartialTables
from envs.lookup_table import LookupTableVectorEnv
from envs.scenarios import ScenarioConfig, sample_batch, stream
from envs.scoring import table_scores
from lab.tables import build, learned
from lab.tables.policy_networks import make_policy, mask_scores
from lab.tables.sequential import SequentialTables, sequential_options, table_of_sequential

SIZE = 13


def options(size=SIZE, **fields):
    defaults = {
        "network": "pointer",
        "width": 8,
        "attention": 0,
        "sharpness": 8.0,
        "features": "hashes",
        "balance": "mask",
        "validity": "mask",
    }
    return sequential_options(size, **{**defaults, **fields})


def policy(seed=0, **fields):
    torch.manual_seed(seed)
    return make_policy(options(**fields).policy)


def tables_of(trained, **fields) -> SequentialTables:
    tables = SequentialTables(options(**fields))
    tables.load_state_dict(trained.state_dict())
    return tables


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"features": "all", "attention": 2},
        {"features": "offsets"},
        {"network": "mlp"},
        {"balance": "reward"},
        {"validity": "penalty"},
        {"order": "pairs"},
        {"order": "pairs", "features": "all", "balance": "reward"},
        {"information": "stateful"},
        {"order": "pairs", "information": "stateful"},
    ],
    ids=str,
)
def test_the_builder_gives_the_tables_that_the_environment_gets(fields):
    """A policy that saw other bits in training than in service would be another policy."""
    network = policy(**fields)
    scenario = ScenarioConfig(size=SIZE, n_before=(3, SIZE), n_after=(1, SIZE))
    world = {key: fields[key] for key in ("balance", "validity", "order", "information") if key in fields}
    env = LookupTableVectorEnv(16, scenario=scenario, features=fields.get("features", "hashes"), **world)
    batch = sample_batch(scenario, 16, stream("validation", 3))
    observation, _ = env.reset(options={"scenarios": batch})
    for _ in range(2 * SIZE):
        mask = torch.from_numpy(observation["action_mask"])
        backends = torch.from_numpy(observation["backends"]).view(16, SIZE, -1)
        with torch.no_grad():
            scores, _ = network(backends, torch.from_numpy(observation["globals"]), mask != 0)
        observation, *_ = env.step(mask_scores(scores, mask).argmax(dim=1).numpy())
    tables = tables_of(network, **fields)
    first = tables.build_batch(batch.hashes, batch.before, SIZE)
    np.testing.assert_array_equal(first, env._tables[0].table)
    if tables.stateless:
        second = tables.build_batch(batch.hashes, batch.after, SIZE)
    else:
        second = tables.rebuild(first, batch.hashes, batch.before, batch.after)
    np.testing.assert_array_equal(second, env._tables[1].table)


def test_the_builder_reads_the_observation_of_the_environment_bit_for_bit():
    """Whatever the number of slots it packs a set into."""
    scenario = ScenarioConfig(size=SIZE, n_before=(3, 5), n_after=(2, 4))
    env = LookupTableVectorEnv(4, scenario=scenario, features="hashes", max_backends=SIZE)
    batch = sample_batch(scenario, 4, stream("validation", 4))
    observation, _ = env.reset(options={"scenarios": batch})
    seen = []
    tables = tables_of(policy())
    tables._network = lambda *inputs: (seen.append(inputs), (inputs[0][..., 0] * 0, None))[1]  # records, prefers none
    partial = PartialTables(batch.hashes, batch.before, SIZE, slots=5, features="hashes")
    tables.choose(partial.observe(), SIZE)
    backends, global_features, legal = (tensor.numpy() for tensor in seen[0])
    expected = observation["backends"].reshape(4, SIZE, -1)
    np.testing.assert_array_equal(backends, expected[:, :5])
    assert not expected[:, 5:].any()
    np.testing.assert_array_equal(global_features, observation["globals"])
    np.testing.assert_array_equal(legal, observation["action_mask"][:, :5] != 0)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, SIZE), st.integers(0, 2**32 - 1))
def test_quotas_in_the_mask_make_every_table_valid_and_exactly_even(n, seed):
    rng = np.random.default_rng(seed)
    batch = sample_batch(ScenarioConfig(size=SIZE, n_before=(n, n), n_after=(1, SIZE), max_delta=SIZE), 3, rng)
    table = tables_of(policy(seed)).build_batch(batch.hashes, batch.before, SIZE)
    scores = table_scores(table, batch.before)
    assert (scores.spread <= 1).all()
    assert not scores.imbalance.any()
    assert not scores.invalid.any()


def test_a_set_has_the_same_table_in_any_order_and_in_any_company(tmp_path):
    network = policy()
    learned.save(
        tmp_path, "sequential", options().model_dump(), network.state_dict(), {"size": SIZE, "experiment": "table_ppo"}
    )
    rng = np.random.default_rng(0)
    ids = [uuid.UUID(bytes=rng.bytes(16), version=4) for _ in range(7)]
    table = build(f"learned:{tmp_path}", ids, SIZE)
    owners = [ids[entry] for entry in table]
    shuffled = [ids[place] for place in rng.permutation(7)]
    assert [shuffled[entry] for entry in build(f"learned:{tmp_path}", shuffled, SIZE)] == owners
    # The same set as one row of many, in columns between absent ones.
    batch = sample_batch(ScenarioConfig(size=SIZE), 40, rng)
    hashes, present = batch.hashes.copy(), batch.before.copy()
    columns = np.array([0, 2, 3, 5, 8, 9, 12])
    hashes[17], present[17] = rng.integers(2**63, size=hashes[17].shape, dtype=np.uint64), False
    order = sort_order(ids)
    hashes[17, columns], present[17, columns] = hashes_of(ids)[order], True
    row = tables_of(network).build_batch(hashes, present, SIZE)[17]
    assert [ids[order[np.searchsorted(columns, column)]] for column in row] == owners


def test_scores_that_tie_go_to_the_first_slot_that_is_legal():
    network = policy()
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    batch = sample_batch(ScenarioConfig(size=SIZE, n_before=(3, 3), n_after=(2, 2)), 1, np.random.default_rng(0))
    table = tables_of(network).build_batch(batch.hashes, batch.before, SIZE)
    first, second, third = np.flatnonzero(batch.before[0])
    assert table[0].tolist() == [first] * 5 + [second] * 4 + [third] * 4


def test_building_tables_leaves_the_random_generators_alone():
    network = policy()
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    batch = sample_batch(ScenarioConfig(size=SIZE), 2, np.random.default_rng(0))
    tables_of(network).build_batch(batch.hashes, batch.before, SIZE)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


def test_an_mlp_refuses_more_backends_than_it_was_built_for():
    with pytest.raises(RequestError, match="at most 13 backends"):
        tables_of(policy(network="mlp"), network="mlp").check(SIZE, SIZE + 1)
    tables_of(policy()).check(SIZE, SIZE + 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": "hash"}, "features"),
        ({"surplus": 1}, "surplus"),
        ({"policy": {}}, "policy.backend_features"),
        ({"policy": None}, "policy"),
    ],
)
def test_options_of_another_kind_are_refused_in_one_line(change, message):
    with pytest.raises(RequestError, match=message) as error:
        table_of_sequential({**options().model_dump(), **change})
    assert "\n" not in str(error.value)


def test_a_policy_that_needs_the_table_in_force_builds_none_alone(tmp_path):
    fields = {"information": "stateful"}
    meta = {"size": SIZE, "experiment": "table_ppo"}
    learned.save(tmp_path, "sequential", options(**fields).model_dump(), policy(**fields).state_dict(), meta)
    assert not learned.load(tmp_path).stateless
    with pytest.raises(RequestError, match="needs the table in force"):
        build(f"learned:{tmp_path}", ["a", "b"], SIZE)


def test_weights_of_another_network_are_refused(tmp_path):
    meta = {"size": SIZE, "experiment": "table_ppo"}
    learned.save(tmp_path, "sequential", options().model_dump(), policy(width=9).state_dict(), meta)
    with pytest.raises(RequestError, match="network"):
        learned.load(tmp_path)


def test_building_a_table_needs_no_ray():
    code = "import sys, lab.tables.sequential, lab.tables.learned; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
