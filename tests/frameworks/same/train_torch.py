"""The training of the comparison in PyTorch: `train_torch.py LEARNING_RATE INPUT_SCALE`."""

import sys

import torch
from torch import nn

from data import make

lr, scale = map(float, sys.argv[1:])
x, y, w = make(scale)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
with torch.no_grad():
    for layer, kernel in zip((model[0], model[2]), w, strict=True):
        layer.weight.copy_(torch.tensor(kernel.T)), layer.bias.zero_()
optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
for i in range(100):
    a, b = torch.tensor(x[32 * i : 32 * i + 32]), torch.tensor(y[32 * i : 32 * i + 32]).long()
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(a), b).backward()
    optimizer.step()
