"""The cells by name, and what each is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field

from lab.config import Config
from lab.tasks.l1_norm.accumulators import Activation, LeakyCell, NauCell, NotebookCell, ReluCell
from lab.tasks.l1_norm.cell import Cell
from lab.tasks.l1_norm.recurrent import ElmanCell, GruCell, IrnnCell, LstmCell

__all__ = ["CELLS", "CellName", "CellOptions", "Dtype", "make"]

CellName = Literal["notebook", "relu", "leaky", "irnn", "tanh", "gru", "lstm", "nau"]
Dtype = Literal["float32", "float64"]


class CellOptions(Config):
    """What decides the shape of a cell and its Python-level choices; what a cell does not have is at its default."""

    cell: CellName
    width: int = Field(default=1, ge=1, le=512)
    bias: bool = False
    activation: Activation = "relu"
    slope: float = Field(default=0.0, ge=0, lt=1)


CELLS: dict[str, Callable[[CellOptions], Cell]] = {
    "notebook": lambda options: NotebookCell(options.bias, options.activation, options.slope),
    "relu": lambda options: ReluCell(options.width, options.bias),
    "leaky": lambda options: LeakyCell(options.width, options.bias, options.slope),
    "irnn": lambda options: IrnnCell(options.width),
    "tanh": lambda options: ElmanCell(options.width),
    "gru": lambda options: GruCell(options.width),
    "lstm": lambda options: LstmCell(options.width),
    "nau": lambda options: NauCell(options.width),
}
"""Name -> what makes the cell of its options. A constant: no name from a file is ever imported."""


def make(options: CellOptions, dtype: Dtype = "float32") -> Cell:
    """The cell with these options, its weights not drawn yet."""
    return CELLS[options.cell](options).to(torch.float64 if dtype == "float64" else torch.float32)
