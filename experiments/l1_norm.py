"""The L1 norm: which cell, trained how, learns `sum |x_t|` of sequences of any length from sequences of ten entries.

El-Naggar et al. (2022, 2023) found that backpropagation does not teach recurrent networks to count reliably. Here it
does. What it takes, and how many of 64 seeds still succeed if just that is taken away from `default`:

- The state is a linear accumulator, `s = w s + weight_o relu(weight_i x)`, without biases (with them: 0, an error of
  6 % is left after 1,000 steps), of so many units that both signs of an entry are seen whatever the initialisation (4
  units for 16: 59, in the others all units look to one side).
- Training is in float64, deployment in float32 (float32: 61). The problem has no noise: all gradients vanish at the
  solution, so Adam converges to it at a linear rate, and rounding to float32 makes the recurrent weight exactly 1. At
  length 10,000 a weight that is 1e-7 off is an error of 5e-4.
- Adam's second moment is long, beta_2 = 0.999 (0.98: 30). It remembers the large gradients of the start while the
  present ones vanish; at 0.98 it takes twice the steps, and a learning rate that falls to nothing.

Relative error at length 10,000, the median of 8 sequences, in float32; a success has 1e-4 or less after the last step.
Sums in float32 alone have 8e-7 to 9e-7 on these sequences. `lab train l1_norm --seeds 64`, with `cell=leaky`, with
`cell=nau`, and with `--preset notebook`; seconds are those of one training alone on one core.

| training              | seeds | succeed | median error | steps to solve, median and range | seconds |
|-----------------------|-------|---------|--------------|----------------------------------|---------|
| `default`             | 256   | 256     | 8e-7         | 350, to 500                      | 2       |
| `default`, cell leaky | 64    | 64      | 9e-7         | 350, to 550                      | 5       |
| `default`, cell nau   | 64    | 64      | 8e-7         | 200, to 250                      | 2       |
| `notebook`            | 64    | 17      | 2e-2         | of those 17: 50,000, from 47,000 | 40      |

45 of the notebook's 64 networks are right at one validation or another, the first after 6,000 steps, but do not stay
so: at a constant learning rate the recurrent weight keeps moving around 1, and the 17 are those that happen to be right
at the last one. The other 19 never are.
"""

from functools import partial

from ray import tune

from lab.experiment import Experiment, register, resources
from lab.tasks.l1_norm import TASK, L1NormConfig, fit

register(
    Experiment(
        name="l1_norm",
        summary="a recurrent network that sums absolute values, from sequences of ten to any length",
        config=L1NormConfig,
        fit=fit,
        space={
            "cell": tune.choice(["notebook", "relu", "leaky", "nau", "irnn", "tanh", "gru", "lstm"]),
            "learning_rate": tune.loguniform(3e-3, 1e-1),
            "width": tune.choice([4, 16]),
            "batch_size": tune.choice([16, 32]),
            "schedule": tune.choice(["constant", "cosine", "geometric"]),
            # Success is a share of trials, so each has weights and sequences of its own.
            "seed": tune.randint(0, 2**31 - 1),
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
                "bias": True,
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
