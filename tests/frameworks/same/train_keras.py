"""The same training in Keras, on the backend of KERAS_BACKEND."""

import sys

import keras

from data import make

lr, scale = map(float, sys.argv[1:])
x, y, w = make(scale)
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(3)])
for layer, kernel in zip(model.layers, w, strict=True):
    layer.kernel.assign(kernel)
model.compile(keras.optimizers.SGD(lr, momentum=0.9), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(x, y, batch_size=32, shuffle=False, verbose=0)
