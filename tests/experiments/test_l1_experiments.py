"""The experiments of the L1 norm as a person asks for them."""

import math
from collections import Counter

import numpy as np
import pytest

import experiments  # noqa: F401  # registers them
from lab.experiment import get
from lab.sweep.space import grid
from lab.tasks.l1_norm import TASK, L1NormConfig
from lab.tasks.l1_norm.signs import PATTERNS

NORM, SIGNS = get("l1_norm"), get("l1_signs")
SMALL = {"iterations": 2, "steps": 2, "validation_length": 20, "validation_sequences": 2}


@pytest.mark.parametrize(
    ("experiment", "preset"), [(experiment, preset) for experiment in (NORM, SIGNS) for preset in experiment.presets]
)
def test_every_preset_trains_and_reports_the_objective(experiment, preset):
    rows = []
    experiment.fit(experiment.resolve(preset, SMALL), lambda metrics, checkpoint=None: rows.append(metrics))
    assert [row["iteration"] for row in rows] == [1.0, 2.0]
    assert all(math.isfinite(row[experiment.metric]) for row in rows)


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize(
    ("experiment", "preset"), [(experiment, preset) for experiment in (NORM, SIGNS) for preset in experiment.presets]
)
def test_every_draw_of_the_search_space_is_a_configuration(experiment, preset, seed):
    rng = np.random.RandomState(seed)  # what Tune's domains draw from
    drawn = {name: domain.sample(random_state=rng) for name, domain in experiment.space.items()}
    experiment.resolve(preset, drawn)


def test_the_default_is_a_cell_within_the_rule_judged_at_ten_thousand():
    config = NORM.resolve("default")
    assert isinstance(config, L1NormConfig)
    assert TASK.init(config).within_rule
    assert (config.max_length, config.validation_length) == (10, 10_000)


def test_the_notebook_preset_is_the_notebooks_training():
    config = NORM.resolve("notebook")
    assert isinstance(config, L1NormConfig)
    assert (config.cell, config.batch_size, config.max_length, config.dtype) == ("notebook", 32, 10, "float32")
    assert (config.learning_rate, config.schedule) == (1e-3, "constant")
    assert TASK.betas == (0.9, 0.999), "torch's own, as the notebook left them"


def test_a_quick_sweep_has_few_architectures_for_its_trials():
    keys = Counter(TASK.key(NORM.resolve("quick", drawn)) for drawn in grid(NORM.space, 1))
    assert len(keys) <= 30


def test_the_study_of_signs_has_every_pattern_with_32_seeds_and_both_activations():
    configs = [SIGNS.resolve("default", drawn) for drawn in grid(SIGNS.space, None)]
    assert Counter(config.signs for config in configs) == dict.fromkeys(PATTERNS, 64)
    assert len({(config.signs, config.activation, config.seed) for config in configs}) == 17 * 2 * 32
    assert {config.iterations * config.steps for config in configs} == {50_000}
    assert len({TASK.key(config) for config in configs}) == 4, "biases and activation are all that keeps them apart"


def test_both_belong_to_one_comparison_and_train_as_populations():
    for experiment in (NORM, SIGNS):
        assert (experiment.comparison, experiment.population) == ("l1_norm", TASK)
        assert experiment.resources(experiment.resolve("quick", {"threads": 2})) == {"cpu": 2.0}
