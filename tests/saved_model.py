"""A SavedModel of a few bytes that the store takes, written with the store's own stubs: the right signatures, and nothing computed."""

import re

from pynumdraw.signature import SIGNATURES
from pynumdraw.store.saved_model_pb2 import (
    DataType,
    FunctionDef,
    MetaGraphDef,
    NodeDef,
    OpDef,
    SavedModel,
    SignatureDef,
    TensorInfo,
    TensorShapeProto,
)


def tensor_info(name: str, described: str) -> TensorInfo:
    """Of a description such as DT_FLOAT[?,10]."""
    dtype, dims = re.fullmatch(r"(\w+)\[(.*)\]", described).groups()
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=-1 if dim == "?" else int(dim)) for dim in dims.split(",") if dim])
    return TensorInfo(name=f"{name}:0", dtype=DataType.Value(dtype), tensor_shape=shape)


def meta_graph(*nodes: NodeDef, functions: dict[str, list[NodeDef]] | None = None) -> MetaGraphDef:
    """With these operations in the graph and in functions, and our signatures."""
    made = MetaGraphDef(meta_info_def={"tags": ["serve"]})
    made.graph_def.node.extend([NodeDef(name="images", op="Placeholder"), *nodes])
    for name, body in (functions or {}).items():
        made.graph_def.library.function.append(FunctionDef(signature=OpDef(name=name), node_def=body))
    for name, (inputs, outputs) in SIGNATURES.items():
        signature = SignatureDef(method_name="tensorflow/serving/predict")
        for tensors, side in ((inputs, signature.inputs), (outputs, signature.outputs)):
            for tensor, described in tensors.items():
                side[tensor].CopyFrom(tensor_info(tensor, described))
        made.signature_def[name].CopyFrom(signature)
    return made


def saved_model(*meta_graphs: MetaGraphDef) -> bytes:
    """The content of saved_model.pb; by default with one graph."""
    model = SavedModel(saved_model_schema_version=1, meta_graphs=meta_graphs or [meta_graph()])
    return model.SerializeToString(deterministic=True)
