"""One Ray for all tests of this folder that need one in their own process."""

import sys
from pathlib import Path

import pytest

from lab.sweep.cluster import ray_session

# The toy experiment is a module that the processes of trials import as well.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="package")
def ray_here():
    """A Ray of two slots."""
    with ray_session(None):
        yield
