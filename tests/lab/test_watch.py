"""`lab watch` must serve both pages on loopback alone, and leave no server behind."""

import json
import signal
import subprocess
import sys
import urllib.request

import pytest

from lab.runs import Plan, Run
from lab.tracking import MLflowTracker


@pytest.mark.slow
def test_both_pages_are_served_and_end_with_the_verb(runs):
    import experiments  # noqa: F401
    from lab.experiment import get

    experiment = get("table_supervised")
    config = experiment.resolve("quick").model_dump(mode="json")
    run = Run.create(experiment, kind="train", preset="quick", config=config, plan=Plan(samples=1))
    MLflowTracker().start(run)
    command = [sys.executable, "-m", "lab", "watch", "--tensorboard-port", "0", "--mlflow-port", "0", "--json"]
    watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert watch.stdout is not None
        text = ""
        for line in watch.stdout:
            text += line
            if line == "}\n":
                break
        pages = json.loads(text)
        assert set(pages) == {"tensorboard", "mlflow"}
        for url in pages.values():
            assert url.startswith("http://127.0.0.1:")
            with urllib.request.urlopen(url, timeout=30) as page:
                assert page.status == 200
        search = urllib.request.Request(
            f"{pages['mlflow']}api/2.0/mlflow/experiments/search",
            data=b'{"max_results": 10}',
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(search, timeout=30) as answer:
            assert "table_supervised" in {found["name"] for found in json.load(answer)["experiments"]}
    finally:
        watch.send_signal(signal.SIGTERM)
        watch.wait(timeout=60)
    for url in pages.values():
        with pytest.raises(OSError):  # noqa: PT011  (refused or reset, by the system)
            urllib.request.urlopen(url, timeout=5)
    assert watch.returncode == 1
