"""Options that several verbs have."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["data_dir_option", "json_option"]

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Where the data sets are now that do not come with the lab, for runs of parity.  "
    "[default: where they were in training]",
)
