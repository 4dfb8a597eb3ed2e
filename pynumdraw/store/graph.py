"""What a version may do when it is served: a SavedModel is code, so its operations and its signatures are read before anybody runs it.

The operations are those that trainer/export.py writes, in the graph and in every function of every meta graph, and they only compute:
none reads or writes a file, opens a connection, calls Python or logs. No value has a type (DT_RESOURCE, DT_VARIANT) that code decodes.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from google.protobuf.message import DecodeError

from pynumdraw.signature import SIGNATURES
from pynumdraw.store.files import StoreError, list_files, quoted, read
from pynumdraw.store.manifest import MANIFEST, SIGNATURE
from pynumdraw.store.saved_model_pb2 import AttrValue, DataType, GraphDef, NodeDef, SavedModel, SignatureDef, TensorInfo

GRAPH, WARMUP, REPORT = "saved_model.pb", "assets.extra/tf_serving_warmup_requests", "report/"
OPERATIONS = frozenset(
    (
        *("Const", "Placeholder", "Cast", "EnsureShape", "Fill", "Reshape", "Shape", "StopGradient", "StridedSlice", "Unpack"),
        *("BiasAdd", "Conv2D", "MatMul", "Relu", "Sigmoid", "Softmax"),
        *("AddV2", "Exp", "Log", "Max", "Mul", "RealDiv", "Sub", "Sum", "TopKV2"),
        *("GreaterEqual", "IsFinite", "LessEqual", "LogicalAnd", "SelectV2"),
    )
)
_METHOD = "tensorflow/serving/predict"
_MAX_GRAPH_BYTES = 64 << 20  # ours has about 600,000


def check_graph(folder: Path, version: int) -> None:
    """Raise StoreError unless TensorFlow would load nothing of the folder but a graph of `OPERATIONS` with our `SIGNATURES`; OSError."""
    refused = f"version {version} is refused: "
    for file in list_files(folder):
        if file not in (GRAPH, WARMUP, MANIFEST, SIGNATURE) and not (file.startswith(REPORT) and file.count("/") == 1):
            raise StoreError(
                f"{refused}it holds {file:.200}, which TensorFlow might load; wanted are {GRAPH}, {WARMUP} and files in {REPORT}"
            )
    try:
        model = SavedModel.FromString(read(folder / GRAPH, _MAX_GRAPH_BYTES))
    except DecodeError:
        raise StoreError(f"{refused}its {GRAPH} cannot be parsed") from None
    if not model.meta_graphs:
        raise StoreError(f"{refused}its {GRAPH} holds no graph")
    for meta_graph in model.meta_graphs:
        for where, node in _nodes(meta_graph.graph_def):
            if node.op not in OPERATIONS:
                raise StoreError(
                    f"{refused}operation {node.op:.80} ({quoted(node.name)}) in {where} is not among those that a version may use"
                )
            for attribute, value in node.attr.items():
                if (found := _foreign_type(value)) is not None:
                    raise StoreError(f"{refused}{attribute:.80} of {quoted(node.name)} in {where} has {found}, a plain type was wanted")
        _check_signatures(meta_graph.signature_def, refused)


def _nodes(graph: GraphDef) -> Iterator[tuple[str, NodeDef]]:
    """Every operation with where it is: in the graph, or in a function of its library."""
    for node in graph.node:
        yield "the graph", node
    for function in graph.library.function:
        for node in function.node_def:
            yield f"function {quoted(function.signature.name)}", node


def _foreign_type(value: AttrValue) -> str | None:
    """The name of a type that no version of ours uses; None where there is none."""
    for number in (value.type, value.tensor.dtype):
        if number not in DataType.values():
            return f"type {number}"
    return None


def _check_signatures(found: Mapping[str, SignatureDef], refused: str) -> None:
    """Raise StoreError unless they are `SIGNATURES`."""
    if set(found) != set(SIGNATURES):
        raise StoreError(f"{refused}it has the signatures {quoted(sorted(found))}, {sorted(SIGNATURES)} were wanted")
    for name, (inputs, outputs) in SIGNATURES.items():
        signature = found[name]
        if signature.method_name != _METHOD:
            raise StoreError(f"{refused}signature {name} has method {quoted(signature.method_name)}, {_METHOD!r} was wanted")
        for side, tensors, wanted in (("inputs", signature.inputs, inputs), ("outputs", signature.outputs, outputs)):
            if set(tensors) != set(wanted):
                raise StoreError(f"{refused}signature {name} has the {side} {quoted(sorted(tensors))}, {sorted(wanted)} were wanted")
            for tensor, shape in wanted.items():
                if (has := _describe(tensors[tensor])) != shape:
                    raise StoreError(f"{refused}{tensor} of signature {name} is {has:.80}, {shape} was wanted")


def _describe(info: TensorInfo) -> str:
    """Type and shape, such as DT_FLOAT[?,10]."""
    dtype = DataType.Name(info.dtype) if info.dtype in DataType.values() else f"type {info.dtype}"
    if info.tensor_shape.unknown_rank or not info.name:
        return f"{dtype} of unknown rank" if info.name else "no plain tensor"
    return f"{dtype}[{','.join('?' if dim.size < 0 else str(dim.size) for dim in info.tensor_shape.dim)}]"
