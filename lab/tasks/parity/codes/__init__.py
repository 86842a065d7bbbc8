"""Codes over inference: encoders, decoders, and the schemes that are made of them."""

from lab.tasks.parity.codes.decoders import DECODERS, FixedDecoder
from lab.tasks.parity.codes.encoders import ENCODERS, Grid
from lab.tasks.parity.codes.erasures import Erasure
from lab.tasks.parity.codes.schemes import Berrut, Fallback, Parity, Scheme, Spline, Tiled

__all__ = [
    "DECODERS",
    "ENCODERS",
    "Berrut",
    "Erasure",
    "Fallback",
    "FixedDecoder",
    "Grid",
    "Parity",
    "Scheme",
    "Spline",
    "Tiled",
]
