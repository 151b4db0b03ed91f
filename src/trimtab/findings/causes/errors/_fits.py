"""Causes of what does not fit together."""

from __future__ import annotations

SHAPE = "shape-mismatch"
TYPE = "type-mismatch"
DEVICE = "device-mismatch"
LABELS = "labels-invalid"
INDEX = "index-out-of-range"
TRACED = "traced-value"
GRAPH = "spent-graph"
