"""The supervised experiment as a person asks for it."""

import math

import numpy as np
import pytest

import experiments  # noqa: F401  # registers them
from lab.errors import RequestError
from lab.experiment import get
from lab.tasks.table_supervised import TableSupervisedConfig

EXPERIMENT = get("table_supervised")
SMALL = {
    "size": 13,
    "n_before": (3, 13),
    "n_after": (1, 13),
    "iterations": 2,
    "steps": 2,
    "batch_size": 4,
    "validation_scenarios": 8,
}


@pytest.mark.parametrize("preset", EXPERIMENT.presets)
def test_every_preset_trains_and_reports_the_objective(preset):
    config = EXPERIMENT.resolve(preset, SMALL)
    rows = []
    EXPERIMENT.fit(config, lambda metrics, checkpoint=None: rows.append(metrics))
    assert [row["iteration"] for row in rows] == [1.0, 2.0]
    assert all(math.isfinite(row[EXPERIMENT.metric]) for row in rows)


def test_the_presets_that_are_promised_are_there():
    assert {"quick", "default", "full"} <= set(EXPERIMENT.presets)
    for preset in ("quick", "default", "full"):
        config = EXPERIMENT.resolve(preset)
        assert isinstance(config, TableSupervisedConfig)
        assert config.decoder == "balanced", "exactly even"
        assert (config.size, config.n_before, config.n_after, config.max_delta) == (47, (3, 47), (1, 47), 10)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("preset", ["quick", "default"])
def test_every_draw_of_the_search_space_is_a_configuration(preset, seed):
    rng = np.random.RandomState(seed)  # what Tune's domains draw from
    drawn = {name: domain.sample(random_state=rng) for name, domain in EXPERIMENT.space.items()}
    EXPERIMENT.resolve(preset, drawn)


def test_a_trial_takes_as_many_cores_as_it_has_threads():
    assert EXPERIMENT.resources(EXPERIMENT.resolve("quick", {"threads": 2})) == {"cpu": 2.0}


def test_a_misspelt_preset_is_refused():
    with pytest.raises(RequestError, match="Did you mean 'default'"):
        EXPERIMENT.resolve("defualt")
