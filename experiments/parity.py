"""Parity models: how good are predictions that are rebuilt after their servers were lost?

The objective is A_d on validation data: the accuracy of rebuilt predictions against true labels, over every way to lose
an answer. On the test part, the best network by validation, k = 2, addition and subtraction, the MLP as base model:

| `lab train parity`                                        | seeds | base  | A_d                |
|-----------------------------------------------------------|-------|-------|--------------------|
| `--preset default --seeds 3`                              | 3     | 97.4  | 96.1, 96.7, 96.9   |
| `--preset reference --seeds 2 iterations=10`              | 2     | 97.5  | 95.5, 95.8         |
| `--preset mnist5k --seeds 2`                              | 2     | 92.6  | 91.3, 91.3         |
| `--preset mnist5k --seeds 2 code=concatenation/subtraction` | 2  | 92.6  | 92.5, 92.3         |

A parity model that begins with the base model's weights is better on mnist5k after 120 epochs (91.3) than one of twice
the width that begins at random after 100 (90.2 to 90.5, one seed each). There, moved queries about which the base model
is asked anew (`distil`) narrow the gap; on digits, moved queries that keep the answers to the unmoved ones ruin it.
"""

from functools import partial

from ray import tune

from lab.experiment import Experiment, register, resources
from lab.tasks.parity import OBJECTIVE, TASK, ParityConfig, check, fit, read_reference, result_texts

register(
    Experiment(
        name="parity",
        summary="parity models: an inference code that rebuilds lost predictions, and its training-free peers",
        config=ParityConfig,
        fit=fit,
        space={
            "dataset": tune.choice(["digits", "mnist5k"]),
            "k": tune.choice([2, 3, 4]),
            "code": tune.choice(
                [
                    "addition/subtraction",
                    "concatenation/subtraction",
                    "mlp/subtraction",
                    "conv/subtraction",
                    "addition/mlp",
                    "concatenation/mlp",
                    "mlp/mlp",
                    "conv/mlp",
                    "berrut",
                    "berrut-systematic",
                    "spline",
                    "replication",
                    "cheap-model",
                    "majority",
                ]
            ),
            "seed": tune.choice([0, 1, 2, 3, 4]),
        },
        metric=OBJECTIVE,
        mode="max",
        presets={
            "quick": {"iterations": 10, "parity_width": 4.0, "learning_rate": 3e-3},
            "default": {"epochs": 20, "parity_width": 4.0, "learning_rate": 3e-3},
            # Parity models that begin as the base model need fewer epochs and no more width than it has.
            "mnist5k": {
                "dataset": "mnist5k",
                "iterations": 6,
                "epochs": 20,
                "parity_init": "base",
                "shift": 1,
                "distil": True,
            },
            # The settings of the parity-models reference, for as many epochs as `default`: the row to compare with.
            "reference": {"epochs": 20, "schedule": "constant"},
            "paper": {
                "dataset": "cifar10",
                "model": "resnet18",
                "iterations": 100,
                "epochs": 10,
                "base_epochs": 200,
                "shift": 4,
                "flip": True,
                "device": "cuda",
                "checkpoint_every": 5,
            },
        },
        searcher="grid",
        population=TASK,
        check=check,
        comparison="parity",
        read_grid=read_reference,
        texts=result_texts,
        resources=partial(resources, gpu=1.0),
    )
)
