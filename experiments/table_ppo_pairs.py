"""The search for PPO's settings where the policy also chooses which pair of entry and backend is next.

`lab sweep table_ppo_pairs` is 24 trials of Optuna's under ASHA, each of 160,000 environment steps at most, judged by
the churn ratio on validation scenarios. It gains nothing: the best (a learning rate of 0.0126, an entropy of 0.095, a
gamma of 0.05, a lambda of 0.67, 32 units, minibatches of 1,504) has 1.452, and with three new seeds 1.461 where the
default has 1.458, in ranges of 1.453 to 1.470 and 1.450 to 1.463.
"""

from ray import tune

from lab.experiment import Experiment, register
from lab.tasks.table_ppo import OBJECTIVE, TablePpoConfig, check, fit, validation_scenarios

_PAIRS = {
    "order": "pairs",
    "entropy": 0.09,
    "entropy_final": 0.02,
    "learning_rate_final": 3e-4,
    "validate_every": 3,
    "validation_pairs": 256,
    "checkpoint_every": 5,
}

register(
    Experiment(
        name="table_ppo_pairs",
        summary="PPO that chooses the next pair of entry and backend: a search for its settings",
        config=TablePpoConfig,
        fit=fit,
        validation=validation_scenarios,
        space={
            "learning_rate": tune.loguniform(1e-3, 3e-2),
            "entropy": tune.loguniform(0.02, 0.3),
            "width": tune.choice([16, 32, 64]),
            # Not down to 0: what is paid at the end is worth nothing to the steps before it then.
            "gamma": tune.uniform(0.02, 1.0),
            "gae_lambda": tune.uniform(0.02, 1.0),
            "reward": tune.choice(["dense", "terminal"]),
            "minibatch": tune.choice([752, 1504, 3008]),
        },
        metric=OBJECTIVE,
        mode="min",
        searcher="optuna",
        scheduler="asha",
        samples=24,
        check=check,
        presets={
            "quick": {**_PAIRS, "iterations": 6, "validation_pairs": 64},
            # Half a minute of one core: 160,000 steps, about what a cell of table_rl_grid has.
            "default": {**_PAIRS, "iterations": 27},
            "full": {**_PAIRS, "iterations": 500, "validate_every": 20, "validation_pairs": 2000},
        },
    )
)
