"""SavedModels in TensorFlow's C library, called through ctypes: the same loader and session as TensorFlow Serving.

The library is found in the installed wheel; `import tensorflow` would cost seconds and hundreds of megabytes and is never done. ctypes lets
go of Python's lock while a session runs, so requests run side by side. Structures are those of tensorflow/c/{c_api,tf_buffer,tf_tensor}.h.
"""

import ctypes
import gc
import importlib.util
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, cast

from modelserver import runtime_pb2
from modelserver.errors import StatusError, invalid, not_found, unimplemented
from pynumdraw.wire import serving_pb2, tensor_pb2

_TSTRING_BYTES = 24  # sizeof(TF_TString)

# DataType of an output → (typed field of TensorProto, how memoryview reads the elements). tensorflow/core/framework/tensor.proto
_FIELDS = {
    tensor_pb2.DT_FLOAT: ("float_val", "f"),
    tensor_pb2.DT_INT32: ("int_val", "i"),
    tensor_pb2.DT_INT64: ("int64_val", "q"),
    tensor_pb2.DT_UINT8: ("int_val", "B"),
    tensor_pb2.DT_BOOL: ("bool_val", "?"),
}  # and DT_STRING


class _Buffer(ctypes.Structure):
    _fields_ = (("data", c_char_p), ("length", c_size_t), ("deallocator", c_void_p))


class _Output(ctypes.Structure):
    _fields_ = (("operation", c_void_p), ("index", c_int))


P, B = c_void_p, POINTER(_Buffer)  # any pointer, and one to a TF_Buffer
_FUNCTIONS: dict[str, tuple[Any, Sequence[Any]]] = {  # result, parameters
    **dict.fromkeys(("TF_NewStatus", "TF_NewSessionOptions", "TF_NewGraph"), (P, ())),
    **dict.fromkeys(("TF_DeleteStatus", "TF_DeleteSessionOptions", "TF_DeleteGraph", "TF_DeleteTensor"), (None, (P,))),
    **dict.fromkeys(("TF_GetCode", "TF_TensorType", "TF_NumDims"), (c_int, (P,))),
    **dict.fromkeys(("TF_TensorByteSize", "TF_StringGetSize"), (c_size_t, (P,))),
    **dict.fromkeys(("TF_TensorData", "TF_StringGetDataPointer"), (P, (P,))),
    "TF_Version": (c_char_p, ()),
    "TF_Message": (c_char_p, (P,)),
    "TF_NewBuffer": (B, ()),
    "TF_DeleteBuffer": (None, (B,)),
    "TF_SetConfig": (None, (P, c_char_p, c_size_t, P)),
    "TF_GraphOperationByName": (P, (P, c_char_p)),
    "TF_LoadSessionFromSavedModel": (P, (P, B, c_char_p, POINTER(c_char_p), c_int, P, B, P)),
    "TF_DeleteSession": (None, (P, P)),
    "TF_SessionRun": (None, (P, B, P, P, c_int, P, P, c_int, P, c_int, P, P)),
    "TF_AllocateTensor": (P, (c_int, POINTER(c_int64), c_int, c_size_t)),
    "TF_TensorFromProto": (None, (B, P, P)),
    "TF_Dim": (c_int64, (P, c_int)),
}


@cache
def library() -> ctypes.CDLL:
    """TensorFlow's C library from the installed wheel, its functions typed. StatusError UNIMPLEMENTED where there is none."""
    spec = importlib.util.find_spec("tensorflow")  # looks, does not import
    folder = Path(((spec and spec.submodule_search_locations) or ["tensorflow (not installed for this Python)"])[0])
    try:
        loaded = ctypes.CDLL(str(folder / ("libtensorflow_cc.2.dylib" if sys.platform == "darwin" else "libtensorflow_cc.so.2")))
    except OSError as exc:
        raise unimplemented(f"TensorFlow's C library cannot be loaded: {exc}") from exc
    for function, (result, arguments) in _FUNCTIONS.items():
        typed = getattr(loaded, function)
        typed.restype, typed.argtypes = result, arguments
    return loaded


@contextmanager
def _status() -> Iterator[int]:
    """A TF_Status for the length of a `with`; at its end StatusError for what the call within wrote there."""
    tf = library()
    status: int = tf.TF_NewStatus()
    try:
        yield status
        if code := tf.TF_GetCode(status):
            raise StatusError(cast("serving_pb2.Code", code), tf.TF_Message(status).decode(errors="replace"))
    finally:
        tf.TF_DeleteStatus(status)


class SavedModel:
    """One version's session. `run` may be called from many threads at once; `close` once, when none runs.

    intra_op, inter_op: threads within an operation and for operations side by side, 0 = as many as TensorFlow thinks fit; inter_op -1 = the
    caller's own alone, and then no timeout ends a run. The pools are the process's, made when its first session is.
    Raises StatusError, with TensorFlow's own message, where the folder holds no readable SavedModel for serving.
    """

    def __init__(self, folder: str, intra_op: int = 0, inter_op: int = 0) -> None:
        tf = library()
        config = runtime_pb2.ConfigProto(intra_op_parallelism_threads=intra_op, inter_op_parallelism_threads=inter_op).SerializeToString()
        options, meta_graph = tf.TF_NewSessionOptions(), tf.TF_NewBuffer()
        self._graph, self._session = tf.TF_NewGraph(), None
        try:
            tags = (c_char_p * 1)(b"serve")
            with _status() as status:
                tf.TF_SetConfig(options, config, len(config), status)
                self._session = tf.TF_LoadSessionFromSavedModel(options, None, folder.encode(), tags, 1, self._graph, meta_graph, status)
            pointer = c_void_p.from_buffer(meta_graph.contents).value or 0  # `data` alone would end at the first zero
            content = ctypes.string_at(pointer, meta_graph.contents.length)
            self.signatures: dict[str, serving_pb2.SignatureDef] = dict(runtime_pb2.MetaGraphDef.FromString(content).signature_def)
        except BaseException:
            self.close()
            raise
        finally:
            tf.TF_DeleteBuffer(meta_graph)
            tf.TF_DeleteSessionOptions(options)

    def close(self) -> None:
        """Free the session and the graph, and hand their memory back to the operating system; glibc alone would keep it."""
        if self._session:
            with _status() as status:
                library().TF_DeleteSession(self._session, status)
        library().TF_DeleteGraph(self._graph)
        self._session = self._graph = None
        gc.collect()
        if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
            trim(0)

    def run(
        self, signature: serving_pb2.SignatureDef, inputs: Mapping[str, tensor_pb2.TensorProto], outputs: Sequence[str], timeout_ms: int = 0
    ) -> list[tensor_pb2.TensorProto]:
        """The outputs of these names, in their order, in typed fields, for one value for each input; timeout_ms 0 or less = no limit."""
        tf = library()
        feeds = [self._find(signature.inputs[alias].name) for alias in inputs]
        fetches = [self._find(signature.outputs[alias].name) for alias in outputs]
        fed, fetched = (c_void_p * len(feeds))(), (c_void_p * len(fetches))()
        options = runtime_pb2.RunOptions(timeout_in_ms=max(0, timeout_ms)).SerializeToString()
        try:
            for i, (alias, proto) in enumerate(inputs.items()):
                fed[i] = _tensor(alias, proto)
            with _status() as status:
                tf.TF_SessionRun(
                    self._session, byref(_Buffer(options, len(options))), (_Output * len(feeds))(*feeds), fed, len(feeds),
                    (_Output * len(fetches))(*fetches), fetched, len(fetches), None, 0, None, status,
                )  # fmt: skip
            return [_proto(tensor) for tensor in fetched if tensor]
        finally:
            for tensor in filter(None, (*fed, *fetched)):
                tf.TF_DeleteTensor(tensor)

    def _find(self, name: str) -> _Output:
        """The operation's output of this name in the graph, such as `x:0`. StatusError where there is none."""
        operation, _, index = name.partition(":")
        pointer = library().TF_GraphOperationByName(self._graph, operation.encode())
        if not pointer:
            raise not_found(f"the signature names {name}, which the graph does not hold")
        return _Output(pointer, int(index or 0))


def _tensor(alias: str, proto: tensor_pb2.TensorProto) -> int:
    """A TF_Tensor made by TensorFlow's own reading of the message: tensor_content or typed values, the last one repeated."""
    tf = library()
    tensor: int = tf.TF_AllocateTensor(tensor_pb2.DT_UINT8, None, 0, 1)
    data = proto.SerializeToString()
    try:
        with _status() as status:
            tf.TF_TensorFromProto(byref(_Buffer(data, len(data))), tensor, status)
    except StatusError as exc:
        tf.TF_DeleteTensor(tensor)
        raise invalid(f"tensor parsing error: {alias}") from exc
    return tensor


def _proto(tensor: int) -> tensor_pb2.TensorProto:
    """The message of a TF_Tensor: every element in the typed field, and the full shape."""
    tf = library()
    dtype = cast("tensor_pb2.DataType", tf.TF_TensorType(tensor))
    proto = tensor_pb2.TensorProto(dtype=dtype)
    shape = [tf.TF_Dim(tensor, axis) for axis in range(tf.TF_NumDims(tensor))]
    proto.tensor_shape.dim.extend(tensor_pb2.TensorShapeProto.Dim(size=size) for size in shape)
    data = tf.TF_TensorData(tensor)
    if dtype == tensor_pb2.DT_STRING:
        cells = [data + i * _TSTRING_BYTES for i in range(math.prod(shape))]
        proto.string_val.extend(ctypes.string_at(tf.TF_StringGetDataPointer(cell), tf.TF_StringGetSize(cell)) for cell in cells)
    elif dtype in _FIELDS:
        field, element = _FIELDS[dtype]
        content = ctypes.string_at(data, tf.TF_TensorByteSize(tensor))
        getattr(proto, field).extend(memoryview(content).cast(cast(Any, element)).tolist())
    else:
        raise unimplemented(f"an output of type {tensor_pb2.DataType.Name(dtype)} cannot be sent by the stand-in; TensorFlow Serving may")
    return proto
