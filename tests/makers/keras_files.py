"""Writes Keras files and SavedModels, with the rows and answers of Keras itself; run by its Python.

keras_files.py FOLDER
"""

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from keras import layers

FOLDER = Path(sys.argv[1])
RANDOM = np.random.default_rng(0)


def floats(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def write(name, model, rows, outputs, *, hdf5=True, folder=True):
    """The model in each form; `rows` by input name, answers by output name."""
    model.save(FOLDER / f"{name}.keras")
    if hdf5:
        model.save(FOLDER / f"{name}.h5")
    if folder:
        model.export(FOLDER / f"{name}_saved", verbose=False)
    given = [rows[key] for key in rows]
    if given[0].dtype == object:
        answers = model(tf.constant(given[0].tolist()))
    else:
        answers = model.predict(given if len(given) > 1 else given[0], verbose=0)
    flat = list(answers.values()) if isinstance(answers, dict) else answers
    flat = flat if isinstance(flat, list | tuple) else [flat]
    np.savez(
        FOLDER / f"{name}.npz",
        **{f"in_{k}": v.astype("S") if v.dtype == object else v for k, v in rows.items()},
        **{f"out_{k}": np.asarray(v) for k, v in zip(outputs, flat, strict=True)},
    )


def mlp():
    """Trained and compiled, so that optimizer, loss and metrics stand in the file."""
    rows = floats(40, 8)
    model = keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(16, "relu", kernel_regularizer=keras.regularizers.L2(0.01)),
            layers.BatchNormalization(),
            layers.Dropout(0.2),
            layers.Dense(3, "softmax"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.01, 10, 0.9)),
        "sparse_categorical_crossentropy",
        metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2)],
    )
    model.fit(rows, RANDOM.integers(0, 3, 40), verbose=0)
    write("mlp", model, {"input": rows}, ["output"])


def cnn():
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Rescaling(1 / 255.0),
            layers.Conv2D(8, 3, padding="same", strides=2),
            layers.LayerNormalization(),
            layers.SeparableConv2D(8, 3, padding="same"),
            layers.MaxPooling2D(),
            layers.GroupNormalization(2),
            layers.Conv2DTranspose(4, 3),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, name="scores"),
        ]
    )
    write("cnn", model, {"input": floats(9, 12, 12, 3)}, ["scores"])


def recurrent():
    model = keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(20, 8, mask_zero=True),
            layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
            layers.GRU(4),
            layers.Dense(1, "sigmoid"),
        ]
    )
    rows = RANDOM.integers(0, 20, (9, 6)).astype(np.int32)
    write("recurrent", model, {"input": rows}, ["output"])


def several():
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
    joined = layers.Concatenate()([layers.Dense(4)(a), b])
    model = keras.Model([a, b], [layers.Dense(1, name="p")(joined), layers.Dense(2, name="q")(a)])
    write("several", model, {"a": floats(9, 4), "b": floats(9, 3)}, ["p", "q"])


def named():
    """Inputs and outputs by name, and arithmetic between layers."""
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    total = layers.Dense(2)(a * 2.0 + b)
    model = keras.Model({"a": a, "b": b}, {"sum": total, "soft": layers.Softmax()(total)})
    model.save(FOLDER / "named.keras")
    rows = {"a": floats(9, 4), "b": floats(9, 4)}
    answers = model.predict(rows, verbose=0)
    np.savez(
        FOLDER / "named.npz",
        **{f"in_{k}": v for k, v in rows.items()},
        **{f"out_{k}": v for k, v in answers.items()},
    )


def adapted():
    """State that is no weight: means, variances and a vocabulary."""
    scale = layers.Normalization()
    scale.adapt(floats(100, 4) * 7 + 3)
    x = keras.Input((4,))
    write("scaled", keras.Model(x, layers.Dense(2)(scale(x))), {"input": floats(9, 4)}, ["output"])
    look = layers.StringLookup(vocabulary=["red", "green"])
    x = keras.Input((1,), dtype="string")
    model = keras.Model(x, layers.Flatten()(layers.Embedding(4, 3)(look(x))))
    words = np.array([[b"red"], [b"green"], [b"mauve"]] * 3, dtype=object)
    write("words", model, {"input": words}, ["output"])


def attention():
    x = keras.Input((10, 8))
    y = layers.LayerNormalization()(layers.MultiHeadAttention(2, 4)(x, x) + x)
    write("attention", keras.Model(x, y), {"input": floats(9, 10, 8)}, ["output"], hdf5=False)


class Own(keras.Model):
    def __init__(self, **more):
        super().__init__(**more)
        self.dense = layers.Dense(2)

    def call(self, x):
        return tf.nn.relu(self.dense(x))


def code():
    """What needs the owner's word, or does not convert."""
    own = Own()
    write("own", own, {"input": floats(9, 4)} if own(floats(2, 4)) is not None else {}, ["output"],
          hdf5=False)  # fmt: skip
    model = keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x * 2, name="double")])
    write("lambda", model, {"input": floats(9, 4)}, ["double"])
    split = layers.TextVectorization(vocabulary=["a", "b"], output_sequence_length=4)
    x = keras.Input((1,), dtype="string")
    keras.Model(x, split(x)).save(FOLDER / "split.keras")
    model.save_weights(FOLDER / "only.weights.h5")


class Reader(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def read(self, path):
        return {"content": tf.map_fn(tf.io.read_file, path)}


def graphs():
    reader = Reader()
    tf.saved_model.save(reader, str(FOLDER / "reader_saved"), signatures=reader.read)
    # As TensorFlow 1 wrote them: variables of a session, no objects.
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        w = v1.get_variable("w", [4, 2])
        y = tf.matmul(x, w, name="y")
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(FOLDER / "session_saved"), {"x": x}, {"y": y})


for step in (mlp, cnn, recurrent, several, named, adapted, attention, code, graphs):
    step()
