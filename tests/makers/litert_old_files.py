"""Writes LiteRT files with an older TensorFlow: by today's converter, and by that of TensorFlow 1.

Run in that TensorFlow's environment: `litert_old_files.py FOLDER`.
"""

import os
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

# The converter of TensorFlow 1 is a program beside the interpreter.
os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
FOLDER = Path(sys.argv[1])
RANDOM = np.random.default_rng(0)

rows = RANDOM.standard_normal((64, 8)).astype("f4")
model = tf.keras.Sequential(
    [
        tf.keras.layers.Input((8,), name="features"),
        tf.keras.layers.Dense(16, activation="relu"),
        tf.keras.layers.Dense(3, activation="softmax"),
    ]
)
np.save(FOLDER / "rows.npy", rows)
np.save(FOLDER / "said.npy", model.predict(rows, verbose=0))

for name, new in (("new", True), ("first", False)):
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.experimental_new_converter = new
    (FOLDER / f"{name}.tflite").write_bytes(converter.convert())

whole = tf.lite.TFLiteConverter.from_keras_model(model)
whole.optimizations = [tf.lite.Optimize.DEFAULT]
whole.representative_dataset = lambda: ([rows[i : i + 1]] for i in range(64))
(FOLDER / "int8.tflite").write_bytes(whole.convert())
