"""Writes files as Keras 2 writes them, with its own answers; run by TensorFlow 2.15's Python.

keras2_files.py FOLDER
"""

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf
from tensorflow import keras

FOLDER = Path(sys.argv[1])
RANDOM = np.random.default_rng(0)


def write(name, model, *rows):
    model.save(FOLDER / f"{name}.keras")
    model.save(FOLDER / f"{name}.h5")
    model.save(FOLDER / f"{name}_saved", save_format="tf")
    answers = model.predict(list(rows) if len(rows) > 1 else rows[0], verbose=0)
    flat = answers if isinstance(answers, list) else [answers]
    np.savez(
        FOLDER / f"{name}.npz",
        **{f"in_{i}": value for i, value in enumerate(rows)},
        **{f"out_{i}": value for i, value in enumerate(flat)},
    )


rows = RANDOM.normal(size=(40, 8)).astype(np.float32)
mlp = keras.Sequential(
    [
        keras.layers.Dense(16, "relu", input_shape=(8,)),
        keras.layers.BatchNormalization(),
        keras.layers.Dense(3, "softmax"),
    ]
)
mlp.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
mlp.fit(rows, RANDOM.integers(0, 3, 40), verbose=0)
write("mlp", mlp, rows)

tokens = keras.Input((6,), dtype="int32", name="tokens")
steps = keras.layers.Embedding(20, 8)(tokens)
steps = keras.layers.Bidirectional(keras.layers.LSTM(4))(steps)
write(
    "recurrent",
    keras.Model(tokens, keras.layers.Dense(1, "sigmoid", name="risk")(steps)),
    RANDOM.integers(0, 20, (9, 6)).astype(np.int32),
)

# TensorFlow's own operations between layers are written as TFOpLambda.
a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
mixed = tf.math.multiply(a, 2.0) + tf.nn.relu(b)
write(
    "operations",
    keras.Model([a, b], keras.layers.Dense(2, name="scores")(mixed)),
    RANDOM.normal(size=(9, 4)).astype(np.float32),
    RANDOM.normal(size=(9, 4)).astype(np.float32),
)

double = keras.layers.Lambda(lambda x: x * 2, name="double")
keras.Sequential([keras.Input((4,)), double]).save(FOLDER / "lambda.h5")
