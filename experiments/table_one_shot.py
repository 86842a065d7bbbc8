"""The whole table as one action: REINFORCE on Plackett-Luce over pairs, or on each entry by itself.

Paid for whole tables, a policy learns slowly: 47 choices share one number. Paid entry by entry, which is biased, it
learns faster. With `supervised_share` it begins with gradient descent on plans, as `table_supervised`.
"""

from ray import tune

from lab.experiment import Experiment, register
from lab.tasks.table_one_shot import TASK, TableOneShotConfig, fit, validation_scenarios

register(
    Experiment(
        name="table_one_shot",
        summary="whole tables drawn at once by a policy that REINFORCE trains",
        config=TableOneShotConfig,
        fit=fit,
        validation=validation_scenarios,
        space={
            "learning_rate": tune.loguniform(3e-3, 3e-2),
            "spread_start": tune.loguniform(0.05, 0.5),
            "spread_end": tune.loguniform(0.02, 0.05),
            "credit": tune.choice(["table", "entry"]),
            "supervised_share": tune.choice([0.0, 0.5, 0.8]),
            "strata": tune.choice([1, 2, 4]),
        },
        metric=TASK.objective,
        mode=TASK.mode,
        presets={
            "quick": {"iterations": 10, "steps": 4, "credit": "entry", "validation_scenarios": 128},
            # A minute of one core.
            "default": {"iterations": 40, "steps": 5, "credit": "entry"},
            "full": {"iterations": 200, "steps": 50, "credit": "entry", "tables": 16, "validation_scenarios": 2000},
        },
        samples=16,
    )
)
