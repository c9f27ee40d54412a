"""What is public: the list in `s2f_edge`, and the few modules that its docstring names."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

import s2f_edge

ROOT = Path(s2f_edge.__file__).resolve().parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md"), *ROOT.glob("deploy/*.py")]


def _public() -> dict[str, set[str] | None]:
    """Module -> what may be imported from it; None is all that has no underscore."""
    named = re.findall(r"`(s2f_edge\.[\w.]+)`", s2f_edge.__doc__ or "")
    parents = {name.rpartition(".")[0]: {name.rpartition(".")[2]} for name in named}
    return {**parents, **dict.fromkeys(named), "s2f_edge": set(s2f_edge.__all__)}


def _imports(text: str) -> list[tuple[str, str]]:
    """(module, name) of the lines that import from the package."""
    lines = re.findall(r"^\s*from (s2f_edge[\w.]*) import ([\w, ]+)$", text, re.MULTILINE)
    return [(module, name.split()[0]) for module, names in lines for name in names.split(",")]


def test_every_public_name_is_there() -> None:
    for name in s2f_edge.__all__:
        assert getattr(s2f_edge, name) is not None
    assert {importlib.import_module(module) for module in _public()}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_import_what_is_public(document: Path) -> None:
    public = _public()
    for module, name in _imports(document.read_text("utf-8")):
        assert module in public, f"{document.name} imports from {module}"
        allowed = public[module]
        assert name in allowed if allowed is not None else hasattr(importlib.import_module(module), name)


def test_what_begins_with_an_underscore_stays_in_its_module() -> None:
    for folder in ("s2f_edge", "s2f_train", "export"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module != "s2f_edge._version":
                    private = [alias.name for alias in node.names if re.match(r"_[a-z]", alias.name)]
                    inside = (node.module or "").rpartition(".")[2].startswith("_") and node.module != "__future__"
                    assert not private, f"{path} imports {private}"
                    assert not inside, f"{path} imports {node.module}"
