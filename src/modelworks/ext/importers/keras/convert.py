"""SavedModel to ONNX by tf2onnx, with names, shapes and a check that every operation exists."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import onnx
from tf2onnx import convert as tf2onnx_convert
from tf2onnx import tf_loader

from modelworks.core.errors import ModelworksError, UnsupportedError
from modelworks.ext.importers.keras.source import Port, Source
from modelworks.ext.importers.reasons import reason

OPSET: Final = 17


def convert(source: Source, folder: Path, target: Path) -> None:
    """Write the model as ONNX.

    Args:
        source: loaded.
        folder: the same as a SavedModel.
        target: the file to write.

    Raises:
        UnsupportedError: an operation has no ONNX form; the message names it.
    """
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    outside = {p.inside: p.spec.name for p in (*source.inputs, *source.outputs)}
    try:
        graph, inputs, outputs, tables, names = tf_loader.from_saved_model(
            str(folder),
            None,
            None,
            tag=["serve"],
            signatures=[source.key],
            return_initialized_tables=True,
            return_tensors_to_rename=True,
        )
        model, _ = tf2onnx_convert._convert_common(  # noqa: SLF001 - the road of its command line
            graph,
            name="modelworks",
            opset=OPSET,
            input_names=inputs,
            output_names=outputs,
            tensors_to_rename={tensor: outside[name] for tensor, name in names.items()},
            initialized_tables=tables,
        )
    except (ModelworksError, MemoryError):
        raise
    except Exception as error:
        raise UnsupportedError(f"tf2onnx does not convert it ({reason(error)})") from error
    if missing := sorted(set(_unknown(model.graph, {o.domain: o for o in model.opset_import}))):
        raise UnsupportedError(f"{', '.join(missing[:5])} of TensorFlow has no ONNX form")
    _tidy(model, source)
    if model.ByteSize() > (2 << 30) - (64 << 20):
        raise UnsupportedError("the converted model is larger than ONNX's 2 GiB")
    onnx.save(model, str(target))


def _unknown(graph: Any, imports: dict[str, Any]) -> Iterator[str]:
    """Operations that no ONNX opset has: tf2onnx leaves in place what it does not know."""
    for node in graph.node:
        used = imports.get(node.domain) or imports.get("ai.onnx" if not node.domain else "")
        version = used.version if used is not None else OPSET
        if not onnx.defs.has(node.op_type, int(version), node.domain):
            yield node.op_type
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _unknown(inner, imports)


def _tidy(model: Any, source: Source) -> None:
    """Inputs and outputs in the source's order, with its shapes."""
    for values, ports in ((model.graph.input, source.inputs), (model.graph.output, source.outputs)):
        known = {value.name: value for value in values}
        ordered = [_shaped(known[port.spec.name], port) for port in ports]
        del values[:]
        values.extend(ordered)
    model.doc_string = ""


def _shaped(value: Any, port: Port) -> Any:
    made = onnx.ValueInfoProto()
    made.CopyFrom(value)
    shape = made.type.tensor_type.shape
    del shape.dim[:]
    for axis, extent in enumerate(port.spec.shape):
        dimension = shape.dim.add()
        if extent is None:
            dimension.dim_param = "batch" if axis == 0 else f"{port.spec.name}_{axis}"
        else:
            dimension.dim_value = extent
    return made
