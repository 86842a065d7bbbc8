"""The PPO experiment as a person asks for it."""

import numpy as np
import pytest

import experiments  # noqa: F401  # registers them
from lab.experiment import get
from lab.tasks.table_ppo import TablePpoConfig

EXPERIMENT = get("table_ppo")


@pytest.mark.parametrize("preset", ["quick", "default", "full"])
def test_the_published_presets_are_exactly_even_and_stateless_at_47(preset):
    config = EXPERIMENT.resolve(preset)
    assert isinstance(config, TablePpoConfig)
    assert (config.size, config.max_delta, config.balance, config.validity) == (47, 10, "mask", "mask")


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("preset", EXPERIMENT.presets)
def test_every_draw_of_the_search_space_is_a_configuration(preset, seed):
    rng = np.random.RandomState(seed)  # what Tune's domains draw from
    drawn = {name: domain.sample(random_state=rng) for name, domain in EXPERIMENT.space.items()}
    EXPERIMENT.resolve(preset, drawn)


def test_a_trial_takes_its_threads_and_a_gpu_if_it_learns_on_one():
    assert EXPERIMENT.resources(EXPERIMENT.resolve("quick", {"threads": 2})) == {"cpu": 2.0}
    assert EXPERIMENT.resources(EXPERIMENT.resolve("quick", {"device": "cuda"})) == {"cpu": 1.0, "gpu": 1.0}
