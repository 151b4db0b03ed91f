"""Data and initial weights of one small classification, the same for every framework."""

import numpy as np


def make(scale=1.0):
    g = np.random.default_rng(0)
    x = (scale * g.standard_normal((3200, 8))).astype("float32")
    y = np.argmax(x @ g.standard_normal((8, 3)), 1).astype("int32")
    w = [(g.standard_normal(s) / np.sqrt(s[0])).astype("float32") for s in ((8, 16), (16, 3))]
    return x, y, w
