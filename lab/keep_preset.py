"""Keeps a trained table as one that comes with the lab: its tensors, and where they came from.

    python -m lab.keep_preset RUN#TRIAL NAME

Copies the artefact to `lab/tables/presets/NAME` with the command, commit, seed and configuration behind it, and without
the tensors before training. For maintainers: a preset is never replaced, another artefact gets another name.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lab.errors import RequestError
from lab.files import read_json, write_bytes, write_json
from lab.paths import find_run, trial_folder
from lab.runs import Run
from lab.tables import learned
from lab.tables.preset import PRESETS

__all__ = ["keep_preset"]


def keep_preset(trial: str, folder: Path) -> None:
    """Copies the artefact of `trial`, `<run>#<number>`, to `folder`.

    Raises:
        RequestError: no such trial or artefact, or the folder is there.
    """
    name, number = learned.split_trial(trial)
    if number is None:
        raise RequestError(f"expected <run>#<trial>, but got {trial!r}")
    if folder.exists():
        raise RequestError(f"expected the name of a new preset, but {folder.name!r} is there")
    run = Run(find_run(name))
    source = trial_folder(run.folder, number)
    learned.load(source)
    description = read_json(source / learned.DESCRIPTION, "description of a learned table")
    manifest = run.manifest
    made = {
        "command": " ".join(manifest.command),
        "commit": manifest.commit,
        "seed": run.trials[number].config["seed"],
        "config": run.trials[number].config,
    }
    digests = {learned.MODEL: description["sha256"][learned.MODEL]}
    write_bytes(folder / learned.MODEL, (source / learned.MODEL).read_bytes())
    write_json(folder / learned.DESCRIPTION, {**description, "sha256": digests, "made": made})


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m lab.keep_preset RUN#TRIAL NAME")
    try:
        keep_preset(sys.argv[1], PRESETS / sys.argv[2])
    except RequestError as error:
        print(f"lab: {error}", file=sys.stderr)
        sys.exit(2)
