"""What a training may be told."""

import pytest

from lab.config import parse
from lab.errors import RequestError
from lab.tasks.table_ppo.config import TablePpoConfig


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"minibatch": 10_000, "envs": 4}, "minibatch must be at most envs \\* 2 \\* size = 376"),
        ({"envs": 5, "env_runners": 2, "minibatch": 8}, "envs must be a multiple of env_runners"),
        ({"width": 9, "attention": 2}, "width must be a multiple of attention"),
        ({"network": "mlp", "size": 23}, "size must be 47"),
        ({"gae_lambda": 1.5}, "gae_lambda"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"balance": "masks"}, "balance"),
        ({"n_envs": 3}, "unknown config field"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(fields, message):
    with pytest.raises(RequestError, match=message) as error:
        parse(TablePpoConfig, fields)
    assert "\n" not in str(error.value)


def test_every_scenario_of_a_small_size_fits_its_slots():
    config = TablePpoConfig(size=11, envs=4, minibatch=8)
    assert config.scenario.max_backends == config.policy.policy.slots == 11
