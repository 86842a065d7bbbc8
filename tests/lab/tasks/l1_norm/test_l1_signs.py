"""The notebook's patterns of initial signs."""

import pytest
import torch

from lab.errors import RequestError
from lab.tasks.l1_norm import TASK, L1NormConfig
from lab.tasks.l1_norm.signs import PATTERNS, get


def test_there_are_five_patterns_without_biases_and_twelve_with():
    biased = [pattern.bias for pattern in PATTERNS.values()]
    assert biased == [False] * 5 + [True] * 12
    assert sum(pattern.finding == "not" for pattern in PATTERNS.values()) == 5
    assert PATTERNS["h-small_i+"].words == "(h small negative, i+) converges"
    assert PATTERNS["h+_i+small_bh-_bi+"].finding == "fast"


@pytest.mark.parametrize("name", PATTERNS)
def test_a_network_starts_with_the_signs_and_sizes_of_its_pattern(name):
    pattern = get(name)
    drawn = [TASK.init(L1NormConfig(cell="notebook", signs=name, seed=seed)) for seed in range(20)]
    places = {"weight_hh": pattern.h, "weight_ih": pattern.i, "bias_hh": pattern.bh, "bias_ih": pattern.bi}
    for attribute, start in places.items():
        values = [getattr(cell, attribute) for cell in drawn]
        if start is None:
            assert values == [None] * 20
            continue
        sizes = torch.stack(values).flatten() * start.sign
        assert (sizes > 0).all()
        assert start.largest / 2 < sizes.max() <= start.largest
        assert len(set(sizes.tolist())) == 20, "a draw of its own for each seed"


def test_an_unknown_pattern_is_refused_with_the_nearest():
    with pytest.raises(RequestError, match="Did you mean"):
        get("h+i+")
