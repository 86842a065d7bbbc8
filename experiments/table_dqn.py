"""The sequential table off-policy: RLlib's double DQN gives out entries, or the best pair next.

Transitions are replayed from flat arrays (`lab.tasks.table_dqn.replay`), with RLlib's loss, targets and learner. What a
value must tell apart is a needless move now, 1 / size, so values are of that scale (`sharpness`), and `gamma=0` learns
first for the reason that it does with PPO.
"""

from ray import tune

from lab.experiment import Experiment, register
from lab.tasks.table_dqn import OBJECTIVE, TableDqnConfig, fit, validation_scenarios

register(
    Experiment(
        name="table_dqn",
        summary="a table given out step by step by a policy that DQN trains",
        config=TableDqnConfig,
        fit=fit,
        validation=validation_scenarios,
        space={
            "order": tune.choice(["entries", "pairs"]),
            "learning_rate": tune.loguniform(1e-3, 1e-2),
            "epsilon": tune.uniform(0.1, 0.5),
            "replays": tune.choice([1.0, 2.0, 3.0]),
            "width": tune.choice([24, 32, 48]),
            "gamma": tune.choice([0.0, 0.5, 0.9]),
        },
        metric=OBJECTIVE,
        mode="min",
        presets={
            # A quarter of a minute of one core.
            "quick": {"iterations": 20, "order": "pairs", "learning_rate": 3e-3, "validation_pairs": 128},
            "default": {"iterations": 200, "order": "pairs", "learning_rate": 3e-3, "learning_rate_final": 3e-4},
            "full": {
                "iterations": 2000,
                "order": "pairs",
                "learning_rate": 3e-3,
                "learning_rate_final": 1e-4,
                "envs": 256,
                "minibatch": 4096,
                "capacity": 1_000_000,
                "width": 64,
                "validation_pairs": 2000,
            },
        },
        samples=16,
    )
)
