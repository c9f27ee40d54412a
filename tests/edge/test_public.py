"""What is public: the list in `s2f_edge`, and the few names that its docstring adds."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

import s2f_edge

ROOT = Path(s2f_edge.__file__).resolve().parents[1]
DOCUMENTS = [
    *ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/*.py"),
    *(path for suffix in ("md", "py", "ipynb") for path in ROOT.glob(f"examples/**/*.{suffix}")),
]  # fmt: skip
# The names beside `__all__`, with their modules.
NAMED = re.findall(r"`(s2f_edge\.[\w.]+)`", s2f_edge.__doc__ or "")
PUBLIC = {*NAMED, *(f"s2f_edge.{name}" for name in s2f_edge.__all__)}


def _used(text: str) -> list[str]:
    """The names of the packages that a document imports or writes out, with their modules."""
    imports = re.findall(r"""^[\s"]*from ((?:s2f_edge|s2f_train|export)[\w.]*) import ([\w, ]+)""", text, re.MULTILINE)
    listed = [f"{module}.{name.split()[0]}" for module, names in imports for name in names.split(",")]
    return listed + re.findall(r"`(s2f_edge(?:\.[a-z_]+)*\.[A-Z]\w+)`", text)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_there_and_documented(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert getattr(importlib.import_module(module), attribute) is not None
    assert name not in NAMED or any(attribute in path.read_text("utf-8") for path in DOCUMENTS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_use_what_is_public(document: Path) -> None:
    modules = {name.rpartition(".")[0] for name in PUBLIC}  # of these a document may import the module
    assert set(_used(document.read_text("utf-8"))) <= PUBLIC | modules


def test_documents_are_read() -> None:
    used = {name for document in DOCUMENTS for name in _used(document.read_text("utf-8"))}
    assert {"s2f_edge.Speech2Face", "s2f_edge.service.app.create_app", "s2f_edge.live.LiveVoice"} <= used


def test_what_begins_with_an_underscore_stays_in_its_module() -> None:
    for folder in ("s2f_edge", "s2f_train", "export"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module != "s2f_edge._version":
                    private = [alias.name for alias in node.names if re.match(r"_[a-z]", alias.name)]
                    inside = (node.module or "").rpartition(".")[2].startswith("_") and node.module != "__future__"
                    assert not private, f"{path} imports {private}"
                    assert not inside, f"{path} imports {node.module}"
