"""Codes over inference: encoders, decoders, and the schemes that are made of them."""

from lab.tasks.parity.codes.decoders import DECODERS, LinearDecoder
from lab.tasks.parity.codes.encoders import ENCODERS
from lab.tasks.parity.codes.erasures import Erasure
from lab.tasks.parity.codes.schemes import Berrut, Fallback, Parity, Scheme, Spline

__all__ = [
    "DECODERS",
    "ENCODERS",
    "Berrut",
    "Erasure",
    "Fallback",
    "LinearDecoder",
    "Parity",
    "Scheme",
    "Spline",
]
