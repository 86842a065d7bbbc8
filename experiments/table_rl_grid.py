"""The table as a problem of reinforcement learning: formulations and algorithms, each with the same environment steps.

A cell is a formulation and an algorithm (`lab.tasks.table_rl_grid.cells`): entries given out in order, or the best pair
next; whole tables at once; one classical builder for all. `lab sweep table_rl_grid` trains every cell with five seeds,
and `lab compare table_rl_grid` then shows each as a method with its seeds: what it costs until it passes Maglev, in
environment steps and in seconds, and how good it is on the suites.
"""

from ray import tune

from lab.experiment import Experiment, register
from lab.tasks.table_rl_grid import CELLS, OBJECTIVE, TableRlGridConfig, fit, validation_scenarios

register(
    Experiment(
        name="table_rl_grid",
        summary="formulations x algorithms of reinforcement learning, on equal environment steps",
        config=TableRlGridConfig,
        fit=fit,
        validation=validation_scenarios,
        space={"cell": tune.choice(list(CELLS)), "seed": tune.choice([0, 1, 2, 3, 4])},
        metric=OBJECTIVE,
        mode="min",
        searcher="grid",
        samples=5 * len(CELLS),
        presets={
            # About a second a trial, to see that all cells run.
            "quick": {"env_steps": 12_000},
            # A quarter to half a minute a trial, forty minutes in all on one core.
            "default": {},
            "full": {"env_steps": 3_000_000},
        },
    )
)
