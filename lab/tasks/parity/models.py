"""Base models and parity models by name; each reads queries (N, C, H, W) and answers with logits (N, n)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from lab.errors import RequestError, unknown_name

__all__ = ["ALIASES", "MODELS", "begin_as", "initialise", "make_model"]

Shape = tuple[int, int, int]


def _scaled(units: int, width: float) -> int:
    return max(1, round(units * width))


def linear(shape: Shape, classes: int, width: float) -> nn.Module:
    """A dense layer: multinomial logistic regression. `width` has no meaning for it."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), classes))


def mlp(shape: Shape, classes: int, width: float) -> nn.Module:
    """Two hidden layers of 200 and 100 ReLU units, times `width` (Kosaian et al., arXiv 1806.01259)."""
    first, second = _scaled(200, width), _scaled(100, width)
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(shape), first),
        nn.ReLU(),
        nn.Linear(first, second),
        nn.ReLU(),
        nn.Linear(second, classes),
    )


def lenet(shape: Shape, classes: int, width: float) -> nn.Module:
    """Two convolutions of 20 channels, 5 x 5, each pooled, and 1,000 units, times `width` (LeCun et al., 1998, with the
    widths of the parity-models reference)."""
    height, columns = (((side - 4) // 2 - 4) // 2 for side in shape[1:])
    if min(height, columns) < 1:
        raise RequestError(f"expected images of at least 16 x 16 pixels for lenet, but got {shape[1]} x {shape[2]}")
    channels, units = _scaled(20, width), _scaled(1000, width)
    return nn.Sequential(
        nn.Conv2d(shape[0], channels, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(channels * height * columns, units),
        nn.ReLU(),
        nn.Linear(units, classes),
    )


def vgg11(shape: Shape, classes: int, width: float) -> nn.Module:
    """VGG-11 with batch normalisation, and one hidden layer of 512 units (Simonyan and Zisserman, ICLR 2015)."""
    if min(shape[1:]) < 32:
        raise RequestError(f"expected images of at least 32 x 32 pixels for vgg11, but got {shape[1]} x {shape[2]}")
    layers: list[nn.Module] = []
    channels = shape[0]
    for stage in ((64,), (128,), (256, 256), (512, 512), (512, 512)):
        for wanted in stage:
            layers += [
                nn.Conv2d(channels, _scaled(wanted, width), 3, padding=1),
                nn.BatchNorm2d(_scaled(wanted, width)),
                nn.ReLU(),
            ]
            channels = _scaled(wanted, width)
        layers.append(nn.MaxPool2d(2))
    units = _scaled(512, width)
    flat = channels * (shape[1] // 32) * (shape[2] // 32)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, units), nn.ReLU(), nn.Linear(units, classes))


class Residual(nn.Module):
    """`relu(layers(x) + shortcut(x))`."""

    def __init__(self, layers: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.layers, self.shortcut = layers, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.layers(x) + self.shortcut(x))


def _resnet(blocks: tuple[int, ...], bottleneck: bool, shape: Shape, classes: int, width: float) -> nn.Module:
    def conv(inputs: int, outputs: int, side: int, stride: int = 1) -> list[nn.Module]:
        return [
            nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False),
            nn.BatchNorm2d(outputs),
        ]

    channels = _scaled(64, width)
    layers: list[nn.Module] = [*conv(shape[0], channels, 3), nn.ReLU()]
    for stage, count in enumerate(blocks):
        inner = _scaled(64, width) * 2**stage
        outer = 4 * inner if bottleneck else inner
        for block in range(count):
            stride = 2 if stage and not block else 1
            if bottleneck:
                body = [*conv(channels, inner, 1), nn.ReLU(), *conv(inner, inner, 3, stride), nn.ReLU()]
                body += conv(inner, outer, 1)
            else:
                body = [*conv(channels, outer, 3, stride), nn.ReLU(), *conv(outer, outer, 3)]
            same = stride == 1 and channels == outer
            shortcut = nn.Identity() if same else nn.Sequential(*conv(channels, outer, 1, stride))
            layers.append(Residual(nn.Sequential(*body), shortcut))
            channels = outer
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def resnet18(shape: Shape, classes: int, width: float) -> nn.Module:
    """ResNet-18 with a 3 x 3 stem, for images of any size (He et al., CVPR 2016)."""
    return _resnet((2, 2, 2, 2), False, shape, classes, width)


def resnet152(shape: Shape, classes: int, width: float) -> nn.Module:
    """ResNet-152 with a 3 x 3 stem, for images of any size (He et al., CVPR 2016)."""
    return _resnet((3, 8, 36, 3), True, shape, classes, width)


MODELS: Mapping[str, Callable[[Shape, int, float], nn.Module]] = {
    "mlp": mlp,
    "lenet": lenet,
    "resnet18": resnet18,
    "resnet152": resnet152,
    "vgg11": vgg11,
    "linear": linear,
}
"""Name -> a function of the shape (C, H, W) of a query, the number of classes, and a factor of the width."""

ALIASES = {
    "base-mlp": "mlp",
    "lenet5": "lenet",
    "base_models.base_mlp.BaseMLP": "mlp",
    "base_models.lenet.LeNet": "lenet",
    "base_models.resnet.ResNet18": "resnet18",
    "base_models.resnet.ResNet152": "resnet152",
    "base_models.vgg.VGG11": "vgg11",
}
"""Spellings of the parity-models reference -> name."""


def make_model(name: str, shape: Shape, classes: int, width: float, generator: torch.Generator) -> nn.Module:
    """A model on the CPU, its weights drawn from `generator`.

    Raises:
        RequestError: an unknown name, or images too small for the model.
    """
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    model = MODELS[name](shape, classes, width)
    initialise(model, generator)
    return model


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draws the weights of dense layers and convolutions: torch's own distributions (He et al., ICCV 2015, for
    convolutions), but from `generator`."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        elif isinstance(layer, nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
        else:
            continue
        if layer.bias is not None:
            bound = 1 / math.sqrt(layer.weight[0].numel())
            nn.init.uniform_(layer.bias, -bound, bound, generator=generator)


def begin_as(model: nn.Module, base: nn.Module) -> None:
    """Lets `model` answer as `base` does, of the same architecture and at most as wide (Chen et al., ICLR 2016).

    The base model's units are the first ones of each layer. Further units keep the weights that they have and what they
    read, but nothing of the base model reads them: their outgoing weights are 0, which training changes. The layers of
    `MODELS` lie one behind the other with channels in order, also where they are flattened, so the first block of each
    tensor is the base model's.
    """
    wider = model.state_dict()
    with torch.no_grad():
        for name, narrow in base.state_dict().items():
            tensor = wider[name]
            if narrow.dim() > 1:
                tensor[: narrow.shape[0]] = 0.0
            tensor[tuple(slice(side) for side in narrow.shape)] = narrow
