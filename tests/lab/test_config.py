"""A wrong field must be named in one line, before anything runs."""

from typing import Literal

import pytest
from pydantic import Field

from lab.config import Config, parse, parse_assignments
from lab.errors import RequestError


class Net(Config):
    learning_rate: float = Field(1e-3, gt=0)
    widths: tuple[int, ...] = (64, 64)
    mask: bool = True
    shape: Literal["flat", "deep"] = "flat"
    seed: int = 0


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["learning_rate=1e-3"], {"learning_rate": 0.001}),
        (["learning_rate=3"], {"learning_rate": 3.0}),
        (["widths=[8, 16]"], {"widths": (8, 16)}),
        (["mask=false", "seed=7"], {"mask": False, "seed": 7}),
    ],
)
def test_assignments_become_a_config(texts, expected):
    config = parse(Net, parse_assignments(texts))
    assert config.model_dump() == {**Net().model_dump(), **expected}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["learning_rat=1"], "Did you mean 'learning_rate'"),
        (["learning_rate=-1"], "learning_rate: input should be greater than 0, but got -1"),
        (["learning_rate=fast"], "learning_rate: input should be a valid number"),
        (["learning_rate=.nan"], "learning_rate: input should be a finite number"),
        (["shape=flta"], "unknown shape 'flta': expected one of deep, flat. Did you mean 'flat'?"),
        (["seed=1.5"], "seed: input should be a valid integer"),
        (["widths=[1, x]"], "widths.1: "),
        (["seed"], "expected key=value, but got 'seed'"),
        (["=1"], "expected key=value"),
        (["seed=1", "seed=2"], "'seed' is given twice"),
        (["seed=[1"], "expected a YAML value for 'seed'"),
    ],
)
def test_a_wrong_assignment_is_one_line(texts, message):
    with pytest.raises(RequestError) as caught:
        parse(Net, parse_assignments(texts))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_config_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Net().seed = 3
