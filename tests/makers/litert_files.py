"""Writes LiteRT files with TensorFlow's converter, and what Keras itself says of the same rows.

Run by the tests in TensorFlow's own environment: `litert_files.py FOLDER`.
"""

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

FOLDER = Path(sys.argv[1])
LITE = tf.lite
RANDOM = np.random.default_rng(0)


def write(name, converter):
    (FOLDER / f"{name}.tflite").write_bytes(converter.convert())


def from_keras(model):
    return LITE.TFLiteConverter.from_keras_model(model)


def from_function(function, *specs):
    concrete = tf.function(function, input_signature=specs).get_concrete_function()
    return LITE.TFLiteConverter.from_concrete_functions([concrete])


def said(name, model, rows):
    np.save(FOLDER / f"{name}_rows.npy", rows)
    np.save(FOLDER / f"{name}_said.npy", model.predict(rows, verbose=0))


def mlp():
    """A classifier: as float32, with weights in int8, and in int8 with three kinds of inputs."""
    rows = RANDOM.standard_normal((256, 8)).astype("f4")
    model = keras.Sequential(
        [
            keras.Input((8,), name="features"),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(rows, (rows.sum(1) > 0).astype("i4"), epochs=3, verbose=0)
    said("mlp", model, rows[:32])
    write("mlp", from_keras(model))
    dynamic = from_keras(model)
    dynamic.optimizations = [LITE.Optimize.DEFAULT]
    write("mlp_weights8", dynamic)
    for kind in (tf.float32, tf.int8, tf.uint8):
        whole = from_keras(model)
        whole.optimizations = [LITE.Optimize.DEFAULT]
        whole.representative_dataset = lambda: ([rows[i : i + 1]] for i in range(64))
        if kind != tf.float32:
            whole.target_spec.supported_ops = [LITE.OpsSet.TFLITE_BUILTINS_INT8]
            whole.inference_input_type = whole.inference_output_type = kind
        write(f"mlp_{kind.name}", whole)


def networks():
    """A convolution, and a recurrent network whose batch LiteRT cannot leave open."""
    cnn = keras.Sequential(
        [
            keras.Input((16, 16, 3), name="image"),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.MaxPool2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(5),
        ]
    )
    said("cnn", cnn, RANDOM.random((16, 16, 16, 3)).astype("f4"))
    write("cnn", from_keras(cnn))
    lstm = keras.Sequential(
        [keras.Input(batch_shape=(1, 6, 4), name="steps"), keras.layers.LSTM(5)]
    )
    rows = RANDOM.standard_normal((16, 6, 4)).astype("f4")
    np.save(FOLDER / "lstm_rows.npy", rows)
    np.save(FOLDER / "lstm_said.npy", np.concatenate([lstm(rows[i : i + 1]) for i in range(16)]))
    write("lstm", from_keras(lstm))


class Two(tf.Module):
    """Two signatures; the served one is not the first graph."""

    def __init__(self):
        self.weight = tf.Variable(2.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="a")])
    def double(self, a):
        return {"twice": a * self.weight}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 3], tf.float32, name="a"),
            tf.TensorSpec([None, 3], tf.float32, name="b"),
        ]
    )
    def add(self, a, b):
        return {"sum": a + b, "difference": a - b}


def signatures():
    two = Two()
    folder = str(FOLDER / "two")
    found = {
        "double": two.double.get_concrete_function(),
        "serving_default": two.add.get_concrete_function(),
    }
    tf.saved_model.save(two, folder, signatures=found)
    write("two", LITE.TFLiteConverter.from_saved_model(folder, signature_keys=sorted(found)))


def functions():
    """Small graphs, each with one thing to know."""
    text = tf.TensorSpec([None, 2], tf.string, name="s")
    write("text", from_function(lambda s: tf.reshape(s, [-1, 2]), text))
    kinds = tf.TensorSpec([None, 2], tf.int32, name="a")
    write("int32", from_function(lambda a: a + 1, kinds))
    line = tf.TensorSpec([None], tf.float32, name="a")
    write("where", from_function(lambda a: tf.where(a > 0)[:, 0], line))
    free = tf.TensorSpec([None, None], tf.float32, name="a")
    write("free", from_function(lambda a: tf.reduce_sum(a, axis=1) * 1.0, free))
    fixed = tf.TensorSpec([2, 3], tf.float32, name="a")
    write("fixed", from_function(lambda a: a * 2, fixed))
    weight = tf.constant(RANDOM.standard_normal((2400, 2400)).astype("f4"))
    wide = tf.TensorSpec([None, 2400], tf.float32, name="a")
    write("heavy", from_function(lambda a: a @ weight, wide))
    flex = from_function(tf.strings.lower, tf.TensorSpec([None], tf.string, name="s"))
    flex.target_spec.supported_ops = [LITE.OpsSet.SELECT_TF_OPS]
    write("flex", flex)
    custom = from_function(lambda a: tf.raw_ops.Betainc(a=a, b=a, x=a), line)
    custom.allow_custom_ops = True
    write("custom", custom)


mlp()
networks()
signatures()
functions()
