"""Layers that are the same to the bit for one network and for many."""

import pytest
import torch
from torch import nn
from torch.func import grad, vmap

from lab.tables.layers import linear, score, silu


def network(width: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> list[nn.Linear]:
    generator = torch.Generator().manual_seed(seed)
    layers = [nn.Linear(19, width), nn.Linear(width, width, bias=False), nn.Linear(width, 1, bias=False)]
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.uniform_(parameter, -0.3, 0.3, generator=generator)
    return [layer.to(dtype) for layer in layers]


def weights_of(layers: list[nn.Linear]) -> dict[str, torch.Tensor]:
    return {f"{k}.{name}": value.detach() for k, layer in enumerate(layers) for name, value in layer.named_parameters()}


def output(layers: list[nn.Linear], weights: dict[str, torch.Tensor], values: torch.Tensor) -> torch.Tensor:
    """A small network of all three layers with the weights given."""

    class Body(nn.ModuleList):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return score(self[2], silu(linear(self[1], silu(linear(self[0], x)))))

    return torch.func.functional_call(Body(layers), weights, (values,))


def test_they_compute_what_torchs_own_layers_compute():
    layers = network(8, dtype=torch.float64)
    values = torch.randn(3, 5, 19, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    first, second, head = layers
    own = head(nn.functional.silu(second(nn.functional.silu(first(values)))))[..., 0]
    torch.testing.assert_close(output(layers, weights_of(layers), values), own)


def test_their_gradients_are_those_of_what_they_compute():
    layers = network(3, dtype=torch.float64)
    names, tensors = zip(*weights_of(layers).items(), strict=True)
    values = torch.randn(2, 4, 19, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(
        lambda x, *w: output(layers, dict(zip(names, w, strict=True)), x),
        (values, *(tensor.clone().requires_grad_() for tensor in tensors)),
    )


@pytest.mark.parametrize("width", [8, 16, 24])
@pytest.mark.parametrize("shared", [True, False], ids=["shared values", "values of their own"])
def test_one_network_and_many_agree_to_the_bit(width, shared):
    members = [weights_of(network(width, seed)) for seed in range(4)]
    stacked = {name: torch.stack([member[name] for member in members]) for name in members[0]}
    values = torch.randn(4, 8, 169, 19, generator=torch.Generator().manual_seed(1))
    layers = network(width)

    def loss(weights, x):
        return output(layers, weights, x).square().mean()

    given = values[0] if shared else values
    mapped = vmap(grad(loss), in_dims=(0, None if shared else 0))(stacked, given)
    for row, member in enumerate(members):
        alone = {name: value.clone().requires_grad_() for name, value in member.items()}
        loss(alone, values[0 if shared else row]).backward()
        for name, value in alone.items():
            assert torch.equal(mapped[name][row], value.grad), name
