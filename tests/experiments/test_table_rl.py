"""The experiments of reinforcement learning, of slack and of looking ahead, as a person asks for them."""

import numpy as np
import pytest

import experiments  # noqa: F401  # registers them
from lab.experiment import get

NAMES = (
    "table_bandit",
    "table_dqn",
    "table_one_shot",
    "table_ppo_pairs",
    "table_rl_grid",
    "table_slack",
    "table_lookahead",
)
SMALL = {
    "table_bandit": {"iterations": 1, "pulls": 4, "validation_pairs": 4},
    "table_one_shot": {"iterations": 1, "steps": 1, "batch_size": 2, "tables": 2, "validation_scenarios": 4},
    "table_lookahead": {"iterations": 1, "fleets": 2, "validation_pairs": 2},
    "table_slack": {"iterations": 1, "fleets": 1, "leaves": (3,), "validation_pairs": 2},
}


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_is_a_configuration(name):
    for preset in get(name).presets:
        get(name).resolve(preset)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(4))
def test_every_draw_of_the_search_space_is_a_configuration(name, seed):
    rng = np.random.RandomState(seed)  # what Tune's domains draw from
    experiment = get(name)
    experiment.resolve("quick", {key: domain.sample(random_state=rng) for key, domain in experiment.space.items()})


@pytest.mark.parametrize("name", SMALL)
def test_the_quick_preset_trains_and_reports_the_objective(name):
    rows = []
    experiment = get(name)
    experiment.fit(experiment.resolve("quick", SMALL[name]), lambda metrics, checkpoint=None: rows.append(metrics))
    assert np.isfinite(rows[-1][experiment.metric])
