"""Where things are in aligned faces, on real ones."""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from s2f_train.data import landmarks
from s2f_train.data.landmarks import MIRRORED, find_landmarks
from s2f_train.prepare.align import TEMPLATE


@pytest.fixture(scope="module")
def faces(s2f_data: Path) -> Tensor:
    """Eight faces as a store has them, uint8 (8, 64, 64, 3)."""
    found: list[np.ndarray] = []
    with tarfile.open(s2f_data / "data" / "avspeech" / "avspeech.tar") as tar:
        for member in tar:
            if member.name.endswith(".face.jpg"):
                file = tar.extractfile(member)
                assert file is not None
                picture = Image.open(io.BytesIO(file.read())).convert("RGB")
                found.append(np.asarray(picture.resize((64, 64), Image.Resampling.LANCZOS)))
            if len(found) == 8:
                break
    return torch.from_numpy(np.stack(found))


def test_eyes_and_nose_are_where_faces_of_a_store_have_them(faces: Tensor) -> None:
    points, found = find_landmarks(faces)
    assert found.all()
    assert points.shape == (8, 68, 2)
    # The template's eye on the right of the picture, outer and inner corner, the other eye, the base of the nose.
    seen = points[:, [45, 42, 36, 39, 33]].mean(dim=0).numpy()
    np.testing.assert_allclose(seen, TEMPLATE, atol=0.02)


@pytest.mark.slow
def test_a_mirror_image_has_mirrored_points(faces: Tensor) -> None:
    points, _ = find_landmarks(faces)
    other, found = find_landmarks(faces.flip(2))
    assert found.all()
    back = torch.stack([1 - other[..., 0], other[..., 1]], dim=2)[:, list(MIRRORED)]
    assert (back - points).abs().mean() < 0.01  # half a pixel of 64


@pytest.mark.slow
def test_where_no_face_is_none_is_found() -> None:
    points, found = find_landmarks(torch.full((2, 64, 64, 3), 255, dtype=torch.uint8))
    assert not found.any()
    assert not points.any()


def test_without_dlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(ModuleNotFoundError, match="pip install dlib-bin face-recognition-models"):
        find_landmarks(torch.zeros(1, 64, 64, 3, dtype=torch.uint8))


def test_without_its_file_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmarks, "LANDMARKS", "another.dat")
    with pytest.raises(ModuleNotFoundError, match=r"needs another.dat of face-recognition-models: pip install"):
        landmarks.weights()
