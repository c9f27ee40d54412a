"""The library c2pa-python, loaded when it is needed, from where it is installed, and kept offline."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import Any

from s2f_edge.errors import RuntimeSetupError

# No revocation is looked up, no manifest that lies elsewhere is fetched, and no host could be asked for either.
OFFLINE: dict[str, Any] = {
    "core": {"allowed_network_hosts": [], "allow_redirects": False, "max_decompressed_manifest_size_in_mb": 16},
    "verify": {
        "remote_manifest_fetch": False,
        "ocsp_fetch": False,
        "verify_trust": True,
        "verify_after_sign": False,
    },
    "builder": {"thumbnail": {"enabled": False}, "auto_timestamp_assertion": {"enabled": False}},
}


def installed() -> bool:
    """Whether the extra `c2pa` is there. Imports nothing."""
    return all(_is_there(name) for name in ("c2pa", "cryptography"))


def _is_there(name: str) -> bool:
    if name in sys.modules:
        return sys.modules[name] is not None
    return importlib.util.find_spec(name) is not None


@cache
def library() -> Any:
    """The module `c2pa`, 23 MB of native code.

    Raises:
        RuntimeSetupError: it is not there, or cannot be loaded.
    """
    try:
        if "c2pa" not in sys.modules:
            _search_only_the_package()
        import c2pa
    except (ImportError, OSError, RuntimeError) as error:
        raise RuntimeSetupError(
            f"Content credentials need the extra c2pa ({error}); run: pip install 's2f-edge[c2pa]'."
        ) from None
    return c2pa


def _search_only_the_package() -> None:
    """c2pa looks for its native library in the current folder first; whoever filled that folder could run code."""
    package = importlib.util.find_spec("c2pa")
    if package is None or package.origin is None:
        raise ImportError("there is no c2pa")
    folder = Path(package.origin).parent
    found = importlib.util.spec_from_file_location("c2pa.lib", folder / "lib.py")
    if found is None or found.loader is None:
        raise ImportError("c2pa has no loader of its library")
    loader = importlib.util.module_from_spec(found)
    found.loader.exec_module(loader)
    if not hasattr(loader, "_get_possible_search_paths"):
        raise ImportError("this version of c2pa looks for its library in another way")
    vars(loader)["_get_possible_search_paths"] = lambda: [folder / "libs", folder]
    sys.modules["c2pa.lib"] = loader
