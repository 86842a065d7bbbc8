"""What is done again from a record has to be what Python would have done, bit for bit."""

import pytest
import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from lab.sweep.replay import Replay


def loss(row: Tensor, batch: dict[str, Tensor], scale: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    state = torch.zeros_like(batch["x"][0])
    for entry in batch["x"]:
        state = torch.tanh(row[0] * state + row[1:].sum() * entry)
    error = (state - batch["y"]).square().mean() * scale
    return error, {"state": state.abs().mean()}


STEP = vmap(grad_and_value(loss, has_aux=True), in_dims=(0, 0, 0))


def inputs(members: int, entries: int, seed: int, dtype: torch.dtype) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    return draw(members, 4), {"x": draw(members, entries, 8), "y": draw(members, 8)}, draw(members)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_record_gives_the_same_bits_for_other_values_and_other_shapes(dtype: torch.dtype) -> None:
    replay = Replay(STEP)
    for members, entries, seed in [(3, 5, 0), (3, 5, 1), (2, 5, 2), (3, 4, 3), (3, 5, 4)]:
        given = inputs(members, entries, seed, dtype)
        gradients, (value, parts) = replay(*given)
        expected, (expected_value, expected_parts) = STEP(*given)
        assert torch.equal(gradients, expected)
        assert torch.equal(value, expected_value)
        assert torch.equal(parts["state"], expected_parts["state"])
        assert not gradients.requires_grad


def test_not_a_number_stays_where_it_is() -> None:
    replay = Replay(STEP)
    weights, batch, scale = inputs(4, 5, 0, torch.float64)
    clean, _ = replay(weights, batch, scale)
    weights[2, 0] = torch.nan
    spoilt, _ = replay(weights, batch, scale)
    assert spoilt[2].isnan().all()
    assert torch.equal(spoilt[[0, 1, 3]], clean[[0, 1, 3]])


def test_without_the_program_the_record_itself_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    given = inputs(3, 5, 0, torch.float64)
    expected, _ = Replay(STEP)(*given)
    monkeypatch.delattr(torch.jit, "trace")
    found, _ = Replay(STEP)(*given)
    assert torch.equal(found, expected)
