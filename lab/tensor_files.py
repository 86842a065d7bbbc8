"""Tensors from a file that a description beside it vouches for."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from lab.errors import RequestError
from lab.files import sha256

__all__ = ["read_tensors"]


def read_tensors(path: Path, digest: object, named_in: str, what: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name, on the CPU.

    Args:
        path: the file.
        digest: the SHA-256 that it should have, in hexadecimal digits.
        named_in: the name of the file that says so.
        what: whose tensors they are, for the message ("a learned table").

    Raises:
        RequestError: the file is missing, truncated, another one, or no safetensors.
    """
    if not path.is_file():
        raise RequestError(f"expected the tensors of {what} at {path}, but there is no such file")
    if sha256(path) != digest:
        raise RequestError(
            f"expected at {path} the tensors that {named_in} names, but the SHA-256 differs: truncated or mixed up?"
        )
    try:
        tensors: dict[str, Tensor] = load(path.read_bytes())
    except (SafetensorError, OSError, ValueError) as error:
        raise RequestError(f"expected safetensors at {path}, but got: {' '.join(str(error).split())[:300]}") from None
    return tensors
