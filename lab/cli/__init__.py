"""The command `lab`."""

from lab.cli.verbs import cli, main

__all__ = ["cli", "main"]
