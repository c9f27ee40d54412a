"""A store of made data, for the tests that read one."""

from __future__ import annotations

import pytest

from s2f_train.data.store import Store
from s2f_train.prepare.item import PrepareSettings
from s2f_train.prepare.plan import Plan, plan
from tests.train.made_sources import SMALL, made_source, prepared


@pytest.fixture(scope="session")
def made_plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """12 voices in 3 shards and 15 faces in 3 shards."""
    return plan([made_source(tmp_path_factory.mktemp("source"))], SMALL, PrepareSettings())


@pytest.fixture(scope="session")
def made_store(made_plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store of `made_plan`. Shared: a test that changes a store makes a copy."""
    folder = tmp_path_factory.mktemp("stores") / "made"
    prepared(made_plan, folder)
    return Store.open(folder)
