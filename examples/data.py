"""Data of the examples that need no framework: the text, and as NumPy arrays the digits, the sequences, the graph."""

import random

import numpy as np

ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def in_words(n):
    """42 -> "forty-two", for 0 to 99."""
    if n < 20:
        return ONES[n]
    tens, ones = TENS[n // 10 - 2], n % 10
    return f"{tens}-{ONES[ones]}" if ones else tens


def make_text(val_share, seed):
    """All sums up to 99 in random order; a share of them, unseen in training, is for validation."""
    pairs = [(a, b) for a in range(100) for b in range(100 - a)]
    sums = [f"{in_words(a)} plus {in_words(b)} is {in_words(a + b)}. " for a, b in pairs]
    random.Random(seed).shuffle(sums)
    n_val = min(max(10, round(len(sums) * val_share)), len(sums) - 10)  # either text fills a window
    return "".join(sums[n_val:]), "".join(sums[:n_val])


def for_training(n, val_share):
    """How many of n examples are not held out for validation; at least one is on either side."""
    return n - min(max(1, round(n * val_share)), n - 1)


def digit_images(rng):
    """scikit-learn's digits in random order: images (N, 8, 8, 1) in [0, 1] and labels (N,)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = rng.permutation(len(digits.target))
    return (digits.images[order, :, :, None] / 16.0).astype("float32"), digits.target[order].astype("int32")


def enlarge(images, size):
    """(N, 8, 8, 1) -> (N, size, size, 1), bilinear, corners not aligned."""
    old = images.shape[1]
    at = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
    weights = np.maximum(0, 1 - abs(at[:, None] - np.arange(old))).astype("float32")  # (size, old)
    return np.einsum("ih,jw,nhwc->nijc", weights, weights, images)


def adding_problem(samples, length, rng):
    """Sequences (N, T, 2) of numbers and marks, one mark in each half, and the sums (N, 1) of the marked numbers."""
    numbers, marks = rng.random((samples, length)), np.zeros((samples, length))
    rows, half = np.arange(samples), length // 2
    marks[rows, rng.integers(0, half, samples)] = 1.0
    marks[rows, rng.integers(half, length, samples)] = 1.0
    x = np.stack([numbers, marks], axis=2)
    return x.astype("float32"), x.prod(axis=2).sum(axis=1, keepdims=True).astype("float32")


def community_graph(communities, size, features, seed):
    """Adjacency matrix (N, N), features (N, features) and community (N,) of every node, as in gcn.py."""
    import networkx as nx

    graph = nx.planted_partition_graph(communities, size, p_in=0.08, p_out=0.01, seed=seed)
    rng = np.random.default_rng(seed)
    community = np.arange(communities * size) // size
    centres = rng.normal(size=(communities, features))
    points = 0.3 * centres[community] + rng.normal(size=(len(community), features))
    return nx.to_numpy_array(graph, dtype="float32"), points.astype("float32"), community.astype("int32")
