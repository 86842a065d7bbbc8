"""What every test stands on: runs of its own, and no Ray token of the person who runs the suite."""

import os
import secrets
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Several test processes share the cores, and threads that wait for one another's core burn many times the work. Set
# before torch and NumPy are imported, and for all processes that tests start, unless a person says otherwise.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# No test asserts a time, hypothesis included.
settings.register_profile("lab", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lab")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: of two processes neither is left with them alone at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("ray")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c():
    """A suite that runs in the background is started with Ctrl-C ignored, and so would be what it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def ray_token(tmp_path_factory: pytest.TempPathFactory):
    """Ray writes a token into the home folder at its first start; the suite leaves the person's own alone."""
    with pytest.MonkeyPatch.context() as patch:
        token = tmp_path_factory.mktemp("ray") / "auth_token"
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
        yield


@pytest.fixture(scope="session", autouse=True)
def new_database(tmp_path_factory: pytest.TempPathFactory):
    """MLflow takes two seconds to make a database: a new one is a copy of the first that the lab made in this process.

    Processes that tests start make theirs by themselves; so does a test that puts what this yields back into place.
    """
    from lab.tracking import mlflow

    made, open_database = tmp_path_factory.mktemp("mlflow") / mlflow.DATABASE, mlflow._open

    def opened(database: Path):
        if not database.exists():
            if not made.exists():
                open_database(made)
            database.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made, database)
        return open_database(database)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow, "_open", opened)
        yield open_database


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all runs, empty, for this test alone."""
    folder = tmp_path / "runs"
    monkeypatch.setenv("LAB_RUNS", str(folder))
    return folder
