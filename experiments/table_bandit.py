"""Which classical builder? A bandit tries them on fresh scenarios: epsilon-greedy, or UCB1.

One builder serves both sets of a scenario, and the regret is against the best fixed one. What it finds is the builder
with the highest mean reward, as a table builder of its own.
"""

from ray import tune

from lab.experiment import Experiment, register
from lab.tasks.table_bandit import OBJECTIVE, TableBanditConfig, fit, validation_scenarios

register(
    Experiment(
        name="table_bandit",
        summary="the best of the classical builders, found by a bandit",
        config=TableBanditConfig,
        fit=fit,
        validation=validation_scenarios,
        space={
            "explore": tune.choice(["epsilon", "ucb"]),
            "epsilon": tune.uniform(0.1, 1.0),
            "bonus": tune.loguniform(0.01, 1.0),
            "w_evenness": tune.choice([0.0, 0.1, 1.0]),
        },
        metric=OBJECTIVE,
        mode="min",
        presets={
            "quick": {"iterations": 10, "pulls": 32, "validation_pairs": 128},
            "default": {},
            "full": {"iterations": 500, "pulls": 512, "validation_pairs": 2000},
        },
        samples=16,
    )
)
