"""A driver process for the tests that kill one: `start` makes a sweep of a toy, `resume` carries the newest on."""

from __future__ import annotations

import json
import sys

from fused_toy import lines
from toy import toy

from lab.errors import WorkError
from lab.paths import list_runs
from lab.runs import Run
from lab.sweep import run_sweep, sweep
from lab.tracking import MLflowTracker, ProgressTracker, TensorBoardTracker


def main(verb: str, name: str, options: str = "{}") -> int:
    experiment = {"toy": toy, "lines": lines}[name]()
    trackers = [ProgressTracker(), TensorBoardTracker(), MLflowTracker()]
    try:
        if verb == "start":
            run_sweep(experiment, trackers=trackers, **json.loads(options))
        else:
            sweep(experiment, Run(list_runs()[-1]), trackers)
    except KeyboardInterrupt:
        return 130
    except WorkError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
