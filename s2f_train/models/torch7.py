"""Reads torch7's `.t7` files, as VGG-Face comes in, without running anything that is in them.

The format (torch7's File:readObject, little-endian, 64 bit): a type, then what it says. Functions, which
torch7 keeps as code, are refused. Objects of nn are read as what they hold.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NIL, NUMBER, STRING, TABLE, TORCH, BOOLEAN = range(6)
FUNCTIONS = (6, 7, 8)
STORAGES = {
    "torch.FloatStorage": "<f4", "torch.DoubleStorage": "<f8", "torch.LongStorage": "<i8", "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2", "torch.CharStorage": "<i1", "torch.ByteStorage": "<u1",
    "torch.CudaStorage": "<f4", "torch.HalfStorage": "<f2",
}  # fmt: skip
TENSORS = {name.replace("Storage", "Tensor") for name in STORAGES}
MOST_DIMENSIONS = 16
DEEPEST = 200  # objects inside objects


class Torch7Error(ValueError):
    """A file is no `.t7` file that can be read."""


@dataclass
class Torch7Object:
    """An object of a class that is neither tensor nor storage, such as nn.SpatialConvolution."""

    name: str
    content: Any = field(default=None)


def read_t7(path: str | Path) -> Any:
    """What a `.t7` file holds: numbers, texts, booleans, dicts, numpy arrays and `Torch7Object`s.

    Raises:
        Torch7Error: it is cut short, holds code, or is no such file.
        OSError: it cannot be read.
    """
    reader = _Reader(Path(path).read_bytes(), str(path))
    try:
        return reader.object(0)
    except (struct.error, UnicodeDecodeError, OverflowError) as error:
        raise Torch7Error(f"{path} is not a t7 file, or is cut short ({error}).") from None


class _Reader:
    def __init__(self, data: bytes, name: str):
        self._data, self._name, self._at = memoryview(data), name, 0
        self._known: dict[int, Any] = {}

    def object(self, depth: int) -> Any:
        if depth > DEEPEST:
            raise Torch7Error(f"{self._name}: objects lie more than {DEEPEST} deep inside each other.")
        kind = self._one("<i")
        if kind == NIL:
            return None
        if kind == NUMBER:
            return self._one("<d")
        if kind == STRING:
            return self._text()
        if kind == BOOLEAN:
            return bool(self._one("<i"))
        if kind in (TABLE, TORCH):
            index = self._one("<i")
            if index not in self._known:
                self._read(kind, index, depth)
            return self._known[index]
        if kind in FUNCTIONS:
            raise Torch7Error(f"{self._name} holds code, which is not run. Save the network's weights alone.")
        raise Torch7Error(f"{self._name} has an object of type {kind} at byte {self._at - 4}; it is no t7 file.")

    def _read(self, kind: int, index: int, depth: int) -> None:
        if kind == TABLE:
            table: dict[Any, Any] = {}
            self._known[index] = table  # before its content: a table may hold itself
            for _ in range(self._count("<i", 8)):
                key = self.object(depth + 1)
                value = self.object(depth + 1)
                if isinstance(key, float) and key.is_integer():
                    key = int(key)
                if not isinstance(key, (int, float, str, bool)):
                    raise Torch7Error(f"{self._name} has a table whose key is a {type(key).__name__}.")
                table[key] = value
            return
        name = self._text()
        if name.startswith("V "):
            name = self._text()
        if name in STORAGES:
            dtype = np.dtype(STORAGES[name])
            count = self._count("<q", dtype.itemsize)
            self._known[index] = np.frombuffer(self._take(count * dtype.itemsize), dtype)
        elif name in TENSORS:
            self._known[index] = self._tensor(depth)
        else:
            made = self._known[index] = Torch7Object(name)
            made.content = self.object(depth + 1)

    def _tensor(self, depth: int) -> NDArray[Any]:
        dimensions = self._one("<i")
        if not 0 <= dimensions <= MOST_DIMENSIONS:
            raise Torch7Error(f"{self._name} has a tensor of {dimensions} dimensions.")
        sizes = [self._one("<q") for _ in range(dimensions)]
        strides = [self._one("<q") for _ in range(dimensions)]
        offset = self._one("<q") - 1
        storage = self.object(depth + 1)
        if storage is None or not dimensions:
            return np.zeros(0, np.float32)
        if not isinstance(storage, np.ndarray) or storage.ndim != 1:
            raise Torch7Error(f"{self._name} has a tensor without a storage.")
        last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
        if min(sizes) < 0 or min(strides) < 0 or offset < 0 or (min(sizes) > 0 and last >= len(storage)):
            raise Torch7Error(f"{self._name} has a tensor that reaches beyond its storage of {len(storage)} numbers.")
        if 0 in sizes:
            return np.zeros(sizes, storage.dtype)
        view = np.lib.stride_tricks.as_strided(
            storage[offset:], sizes, [stride * storage.itemsize for stride in strides]
        )
        return view.copy()

    def _text(self) -> str:
        return bytes(self._take(self._count("<i", 1))).decode("latin-1")

    def _count(self, form: str, bytes_each: int) -> int:
        """How many things follow, of at least so many bytes each."""
        count: int = self._one(form)
        if count < 0 or count * bytes_each > len(self._data) - self._at:
            raise Torch7Error(
                f"{self._name} is cut short, or no t7 file: at byte {self._at} it promises {count} items."
            )
        return count

    def _one(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _take(self, length: int) -> memoryview:
        if self._at + length > len(self._data):
            raise Torch7Error(
                f"{self._name} is cut short: it ends at byte {len(self._data)}, in the middle of something."
            )
        taken = self._data[self._at : self._at + length]
        self._at += length
        return taken
