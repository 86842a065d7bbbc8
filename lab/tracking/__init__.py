"""Views of a run for people: TensorBoard, MLflow and the progress bar, all fed by the driver."""

from lab.tracking.base import BEHIND, Tracker, Tracking
from lab.tracking.mlflow import DATABASE, MLflowTracker, check_database
from lab.tracking.progress import ProgressTracker
from lab.tracking.tensorboard import TensorBoardTracker

__all__ = [
    "BEHIND",
    "DATABASE",
    "MLflowTracker",
    "ProgressTracker",
    "TensorBoardTracker",
    "Tracker",
    "Tracking",
    "check_database",
    "standard_trackers",
]


def standard_trackers() -> list[Tracker]:
    """Every tracker, for `lab train`, `lab sweep` and `lab resume`.

    Raises:
        RequestError: the MLflow database is damaged; ask before a run is made.
    """
    return [ProgressTracker(), TensorBoardTracker(), MLflowTracker()]
