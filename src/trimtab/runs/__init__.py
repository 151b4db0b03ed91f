"""A Run: one training on disk, how it is written and how it is read."""

from ._channel import Channel as Channel
