from pathlib import Path

import pytest
from tiny_packs import make_pack

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def tiny_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack with random weights. Shared: a test that changes a pack makes its own."""
    return make_pack(tmp_path_factory.mktemp("tiny") / "pack")


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of the two synthetic clips."""
    return ROOT / "examples"
