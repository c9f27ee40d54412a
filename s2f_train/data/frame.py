"""The frame of portraits: where the 68 points of a mean face lie in a picture of 256 pixels. No torch here."""

from __future__ import annotations

import numpy as np

SIDE = 256  # pixels of a portrait
VIEW = "portrait"  # of the portraits of a store
POINTS_MEMBER = "points.npy"  # the member with the points of a portrait

# float32 (68, 2): x and y in units of the side, symmetric about x = 0.5. 300-W's 68 points, as dlib numbers them (chin,
# brows, nose, eyes, mouth), of the mean of 3,530 portraits of nobody. A portrait is on the frame when it is moved,
# turned and scaled so that its points lie as near to these as they can; then the whole head is in the picture.
MEAN_SHAPE = np.array(
    [
        (0.2296, 0.4806), (0.2329, 0.5514), (0.2421, 0.6215), (0.255, 0.6912), (0.2776, 0.7568), (0.3171, 0.8141),
        (0.369, 0.8632), (0.4297, 0.9021), (0.5, 0.9145), (0.5703, 0.9021), (0.631, 0.8632), (0.6829, 0.8141),
        (0.7224, 0.7568), (0.745, 0.6912), (0.7579, 0.6215), (0.7671, 0.5514), (0.7704, 0.4806), (0.2783, 0.427),
        (0.3119, 0.3955), (0.3596, 0.3865), (0.4077, 0.3941), (0.454, 0.413), (0.546, 0.413), (0.5923, 0.3941),
        (0.6404, 0.3865), (0.6881, 0.3955), (0.7217, 0.427), (0.5, 0.4678), (0.5, 0.5148), (0.5, 0.5616),
        (0.5, 0.61), (0.4465, 0.6394), (0.4724, 0.6487), (0.5, 0.6579), (0.5276, 0.6487), (0.5535, 0.6394),
        (0.3339, 0.4771), (0.3636, 0.4587), (0.3995, 0.46), (0.4304, 0.4839), (0.3965, 0.4899), (0.361, 0.4895),
        (0.5696, 0.4839), (0.6005, 0.46), (0.6364, 0.4587), (0.6661, 0.4771), (0.639, 0.4895), (0.6035, 0.4899),
        (0.3908, 0.7227), (0.4305, 0.7042), (0.4701, 0.6952), (0.5, 0.7027), (0.5299, 0.6952), (0.5695, 0.7042),
        (0.6092, 0.7227), (0.5711, 0.7612), (0.5324, 0.7805), (0.5, 0.7844), (0.4676, 0.7805), (0.4289, 0.7612),
        (0.4083, 0.7264), (0.4696, 0.7225), (0.5, 0.725), (0.5304, 0.7225), (0.5917, 0.7264), (0.5308, 0.7404),
        (0.5, 0.7444), (0.4692, 0.7404),
    ],
    np.float32,
)  # fmt: skip
