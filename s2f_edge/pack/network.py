"""The only module that imports onnxruntime: networks, devices, threads."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from s2f_edge.errors import DeviceError, OutOfResourcesError, PackIntegrityError, RuntimeSetupError, UsageError
from s2f_edge.hearing.features import Float32s
from s2f_edge.pack.manifest import NetworkFile
from s2f_edge.pack.pack import Pack, default_folder, variants_inside
from s2f_edge.pack.processor import multiplies_8_bits
from s2f_edge.pack.roles import TensorInfo, listed
from s2f_edge.terms import DEVICES

log = logging.getLogger(__name__)

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


@cache
def onnxruntime() -> Any:
    """The module onnxruntime, with its telemetry off.

    Official builds (1.29 and later on Linux and macOS) write a device identifier to the
    home folder and send events to their maker unless ORT_DISABLE_TELEMETRY is set before
    they are loaded. What a user has set there stays.

    Raises:
        RuntimeSetupError: it is not installed, or both its builds are, which overwrite
            each other's files.
        OutOfResourcesError: there is too little memory for it.
    """
    installed = [name for name in ("onnxruntime", "onnxruntime-gpu") if _is_installed(name)]
    if len(installed) == 2:
        raise RuntimeSetupError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other. Remove both, then "
            "install one: pip uninstall -y onnxruntime onnxruntime-gpu; pip install 's2f-edge[cpu]' "
            "(or 's2f-edge[gpu]')."
        )
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime as module
    except ImportError as error:
        if exhausted := OutOfResourcesError.of(error):
            raise exhausted from None
        raise RuntimeSetupError(
            f"onnxruntime cannot be imported ({error}). Install one of its builds: pip install 's2f-edge[cpu]', "
            "or 's2f-edge[gpu]' on a machine with an NVIDIA GPU."
        ) from None
    return module


def _is_installed(distribution: str) -> bool:
    # As importlib.metadata does it, which takes longer to import than to read the folders.
    name = distribution.replace("-", "_")
    return any(any(Path(folder).glob(f"{name}-[0-9]*.dist-info")) for folder in sys.path)


def has_gpu_build() -> bool:
    """Whether the onnxruntime that is installed is the one for GPUs; it is not loaded for that."""
    return _is_installed("onnxruntime-gpu")


def chosen_providers(device: str) -> list[str]:
    """Execution providers for a device: `auto` uses CUDA where available, `cuda` requires it.

    Raises:
        UsageError: no such device.
        DeviceError: cuda is asked for and this onnxruntime has no CUDA.
    """
    if device not in DEVICES:
        raise UsageError(f"The device is {device!r}; it must be one of {', '.join(DEVICES)}.")
    available = onnxruntime().get_available_providers()
    if device == "cpu":
        return [_PROVIDERS["cpu"]]
    if _PROVIDERS["cuda"] in available:
        return [_PROVIDERS["cuda"], _PROVIDERS["cpu"]]
    if device == "cuda":
        raise DeviceError(
            f"CUDA was requested, but this onnxruntime has only {', '.join(available)}. "
            "Install 's2f-edge[gpu]' in place of 's2f-edge[cpu]', or use --device cpu."
        )
    return [_PROVIDERS["cpu"]]


def settled_variant(pack: str | Path | None, variant: str | None, device: str) -> str | None:
    """The variant of a pack that `auto` stands for; another is given as it is.

    It is int8 where the pack has that, the processor has instructions for products of 8 bits, and no GPU does the
    work; otherwise None, the pack itself.

    Raises:
        UsageError, DeviceError: see `chosen_providers`.
    """
    if variant != "auto":
        return variant
    folder = default_folder() if pack is None else Path(pack)
    if "int8" not in variants_inside(folder) or not multiplies_8_bits():
        return None
    return "int8" if chosen_providers(device)[0] == _PROVIDERS["cpu"] else None


class Network:
    """One ONNX file of a pack, loaded, and checked against the manifest.

    Args:
        pack: where it is from.
        name: its file name in the pack.
        device: auto, cpu or cuda.
        threads: of one call; None leaves the choice to onnxruntime.

    Raises:
        PackIntegrityError: the file differs from the manifest in size, hash, names, types
            or shapes, or is no ONNX that can be loaded.
        OutOfResourcesError: there is too little memory, or no thread can be started; `run` may raise it too.
        DeviceError: cuda is asked for and cannot be used.
    """

    def __init__(self, pack: Pack, name: str, device: str = "auto", threads: int | None = None) -> None:
        ort = onnxruntime()
        info = pack.manifest.files[name]
        data, file = pack.read(name), pack.path(name)
        # What onnxruntime reads itself is in memory once and not three times; it takes no names that are not Unicode.
        model = file if str(file).isprintable() else data
        del data
        options = ort.SessionOptions()
        options.log_severity_level = 4  # its errors are raised too; it is not to write them on standard error
        # Spinning threads take the cores from numpy between two calls: a clip of 10 s takes 73 ms without, 110 with.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if threads:
            options.intra_op_num_threads = int(threads)
        providers = chosen_providers(device)
        try:
            # A second attempt, of which it prints on standard output, helps where the first was with CUDA.
            again = int(len(providers) > 1)
            self._session = ort.InferenceSession(model, options, providers=providers, enable_fallback=again)
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            if exhausted := OutOfResourcesError.of(error):
                raise exhausted from None
            raise PackIntegrityError(f"{file} cannot be loaded: {error}") from None
        self.provider: str = self._session.get_providers()[0]
        give_back()  # loading leaves as much unused memory as the weights take
        # onnxruntime goes on without CUDA when a library of it is missing; an explicit wish must not.
        if device == "cuda" and self.provider != providers[0]:
            raise DeviceError(
                f"CUDA was requested, but {name} runs on {self.provider}: CUDA or cuDNN libraries cannot be loaded. "
                "Install the versions that your onnxruntime-gpu requires, or use --device cpu."
            )
        self._check(pack, info)

    def _check(self, pack: Pack, info: NetworkFile) -> None:
        for side, wanted, found in (
            ("inputs", info.inputs, self._session.get_inputs()),
            ("outputs", info.outputs, self._session.get_outputs()),
        ):
            have = tuple(described(tensor) for tensor in found)
            if have != wanted:
                raise PackIntegrityError(
                    f"{pack.folder / info.name}: its {side} are {listed(have)}; the manifest says {listed(wanted)}."
                )

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, Float32s]:
        """Runs the network on named inputs and gives its named outputs."""
        names = [output.name for output in self._session.get_outputs()]
        try:
            return dict(zip(names, self._session.run(names, dict(inputs)), strict=True))
        except Exception as error:
            if exhausted := OutOfResourcesError.of(error):
                raise exhausted from None
            raise


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def give_back() -> None:
    """Gives freed memory back to the system, which glibc keeps otherwise; other C libraries do as they please."""
    if trim := _malloc_trim():
        trim(0)


def described(tensor: Any) -> TensorInfo:
    """A tensor of onnxruntime in the manifest's words."""
    dtype = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int64)": "int64"}
    shape = tuple(length if isinstance(length, int) else None for length in tensor.shape)
    return TensorInfo(tensor.name, dtype.get(tensor.type, tensor.type), shape)
