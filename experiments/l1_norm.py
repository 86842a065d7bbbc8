"""The L1 norm: which cell, trained how, learns `sum |x_t|` of sequences of any length from sequences of ten entries."""

from functools import partial

from ray import tune

from lab.experiment import Experiment, register, resources
from lab.tasks.l1_norm import TASK, L1NormConfig, check, fit

register(
    Experiment(
        name="l1_norm",
        summary="a recurrent network that sums absolute values, from sequences of ten to any length",
        config=L1NormConfig,
        fit=fit,
        check=check,
        space={
            "cell": tune.choice(["notebook", "relu", "leaky", "nau", "irnn", "tanh", "gru", "lstm"]),
            "learning_rate": tune.loguniform(3e-3, 1e-1),
            "width": tune.choice([4, 16]),
            "batch_size": tune.choice([16, 32]),
            "schedule": tune.choice(["constant", "cosine", "geometric"]),
        },
        metric=TASK.objective,
        mode=TASK.mode,
        presets={
            "quick": {"iterations": 4, "steps": 150, "hold": 0.7, "validation_sequences": 4, "checkpoint_every": 4},
            "default": {},
            "full": {"iterations": 100, "steps": 100, "batch_size": 64, "validation_sequences": 32},
            # The notebook's cell, trained the notebook's way.
            "notebook": {
                "cell": "notebook",
                "iterations": 50,
                "steps": 1000,
                "dtype": "float32",
                "learning_rate": 1e-3,
                "schedule": "constant",
            },
        },
        samples=64,
        population=TASK,
        comparison="l1_norm",
        # A step is some milliseconds of hundreds of small networks.
        resources=partial(resources, gpu=0.25),
    )
)
