"""SavedModels in TensorFlow's C library, called through ctypes: the same loader and session as TensorFlow Serving.

The library is found in the installed wheel; `import tensorflow` would cost seconds and hundreds of megabytes and is never done. ctypes lets
go of Python's lock while a session runs, so requests run side by side. Structures are those of tensorflow/c/{c_api,tf_buffer,tf_tensor}.h.
"""

import ctypes
import gc
import importlib.util
import sys
from collections.abc import Iterable, Mapping, Sequence
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, cast

from modelserver.errors import StatusError, invalid, not_found, unimplemented
from pynumdraw.wire import runtime_pb2, serving_pb2, tensor_pb2

_TSTRING_BYTES = 24  # sizeof(TF_TString)

# DataType → (typed field of TensorProto, how memoryview reads the elements). tensorflow/core/framework/tensor.proto
_FIELDS = {
    tensor_pb2.DT_FLOAT: ("float_val", "f"),
    tensor_pb2.DT_DOUBLE: ("double_val", "d"),
    tensor_pb2.DT_INT8: ("int_val", "b"),
    tensor_pb2.DT_INT16: ("int_val", "h"),
    tensor_pb2.DT_INT32: ("int_val", "i"),
    tensor_pb2.DT_INT64: ("int64_val", "q"),
    tensor_pb2.DT_UINT8: ("int_val", "B"),
    tensor_pb2.DT_UINT16: ("int_val", "H"),
    tensor_pb2.DT_UINT32: ("uint32_val", "I"),
    tensor_pb2.DT_UINT64: ("uint64_val", "Q"),
    tensor_pb2.DT_BOOL: ("bool_val", "?"),
    tensor_pb2.DT_HALF: ("half_val", "H"),
    tensor_pb2.DT_BFLOAT16: ("half_val", "H"),
    tensor_pb2.DT_COMPLEX64: ("scomplex_val", "f"),
    tensor_pb2.DT_COMPLEX128: ("dcomplex_val", "d"),
    tensor_pb2.DT_QINT8: ("int_val", "b"),
    tensor_pb2.DT_QUINT8: ("int_val", "B"),
    tensor_pb2.DT_QINT16: ("int_val", "h"),
    tensor_pb2.DT_QUINT16: ("int_val", "H"),
    tensor_pb2.DT_QINT32: ("int_val", "i"),
}


class _Buffer(ctypes.Structure):
    _fields_ = (("data", c_char_p), ("length", c_size_t), ("deallocator", c_void_p))

    def read(self) -> bytes:
        """The bytes of a buffer that TensorFlow has filled; they may hold zeros."""
        return ctypes.string_at(c_void_p.from_buffer(self).value or 0, self.length)


class _Output(ctypes.Structure):
    _fields_ = (("operation", c_void_p), ("index", c_int))


_FUNCTIONS: dict[str, tuple[object, Sequence[object]]] = {
    "TF_Version": (c_char_p, ()),
    "TF_NewStatus": (c_void_p, ()),
    "TF_DeleteStatus": (None, (c_void_p,)),
    "TF_GetCode": (c_int, (c_void_p,)),
    "TF_Message": (c_char_p, (c_void_p,)),
    "TF_NewBuffer": (POINTER(_Buffer), ()),
    "TF_DeleteBuffer": (None, (POINTER(_Buffer),)),
    "TF_NewSessionOptions": (c_void_p, ()),
    "TF_DeleteSessionOptions": (None, (c_void_p,)),
    "TF_SetConfig": (None, (c_void_p, c_char_p, c_size_t, c_void_p)),
    "TF_NewGraph": (c_void_p, ()),
    "TF_DeleteGraph": (None, (c_void_p,)),
    "TF_GraphOperationByName": (c_void_p, (c_void_p, c_char_p)),
    "TF_LoadSessionFromSavedModel": (
        c_void_p,
        (c_void_p, POINTER(_Buffer), c_char_p, POINTER(c_char_p), c_int, c_void_p, POINTER(_Buffer), c_void_p),
    ),
    "TF_CloseSession": (None, (c_void_p, c_void_p)),
    "TF_DeleteSession": (None, (c_void_p, c_void_p)),
    "TF_SessionRun": (
        None,
        (c_void_p, POINTER(_Buffer), c_void_p, c_void_p, c_int, c_void_p, c_void_p, c_int, c_void_p, c_int, c_void_p, c_void_p),
    ),
    "TF_AllocateTensor": (c_void_p, (c_int, POINTER(c_int64), c_int, c_size_t)),
    "TF_DeleteTensor": (None, (c_void_p,)),
    "TF_TensorFromProto": (None, (POINTER(_Buffer), c_void_p, c_void_p)),
    "TF_TensorType": (c_int, (c_void_p,)),
    "TF_NumDims": (c_int, (c_void_p,)),
    "TF_Dim": (c_int64, (c_void_p, c_int)),
    "TF_TensorData": (c_void_p, (c_void_p,)),
    "TF_TensorByteSize": (c_size_t, (c_void_p,)),
    "TF_TensorElementCount": (c_int64, (c_void_p,)),
    "TF_StringGetDataPointer": (c_void_p, (c_void_p,)),
    "TF_StringGetSize": (c_size_t, (c_void_p,)),
}


@cache
def library() -> ctypes.CDLL:
    """TensorFlow's C library from the installed wheel, its functions typed. StatusError where there is none."""
    spec = importlib.util.find_spec("tensorflow")  # looks, does not import
    if spec is None or not spec.submodule_search_locations:
        raise unimplemented("no TensorFlow is installed for this Python, so there is no C library to run models with")
    name = "libtensorflow_cc.2.dylib" if sys.platform == "darwin" else "libtensorflow_cc.so.2"
    try:
        loaded = ctypes.CDLL(str(Path(spec.submodule_search_locations[0]) / name))
    except OSError as exc:
        raise unimplemented(f"TensorFlow's C library cannot be loaded: {exc}") from exc
    for function, (result, arguments) in _FUNCTIONS.items():
        typed = getattr(loaded, function)
        typed.restype, typed.argtypes = result, arguments
    return loaded


def version() -> str:
    """TensorFlow's version, such as 2.20.0."""
    return str(library().TF_Version().decode())


def give_memory_back() -> None:
    """Hand what an unloaded model has freed to the operating system; glibc alone would keep it."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


class _Status:
    """A TF_Status for the length of a `with`; `check` raises what it holds."""

    def __enter__(self) -> "_Status":
        self.pointer = library().TF_NewStatus()
        return self

    def __exit__(self, *exc: object) -> None:
        library().TF_DeleteStatus(self.pointer)

    def check(self) -> None:
        if code := library().TF_GetCode(self.pointer):
            raise StatusError(cast("serving_pb2.Code", code), library().TF_Message(self.pointer).decode(errors="replace"))


class SavedModel:
    """One version's session. `run` may be called from many threads at once; `close` once, when none runs.

    intra_op, inter_op: threads within an operation and for operations side by side, 0 = as many as TensorFlow thinks fit; inter_op -1 = the
    caller's own alone, and then no timeout ends a run. As in TensorFlow Serving, the pools
    are the process's, made when its first session is.
    Raises StatusError, with TensorFlow's own message, where the folder holds no whole SavedModel with these tags.
    """

    def __init__(self, folder: str, tags: Sequence[str] = ("serve",), intra_op: int = 0, inter_op: int = 0) -> None:
        if not any((Path(folder) / f"saved_model.{suffix}").is_file() for suffix in ("pb", "pbtxt", "cpb")):
            raise not_found(
                "Specified file path does not appear to contain a SavedModel bundle (should have a file called `saved_model.pb`)\n"
                f"Specified file path: {folder}"
            )
        tf = library()
        config = runtime_pb2.ConfigProto(intra_op_parallelism_threads=intra_op, inter_op_parallelism_threads=inter_op).SerializeToString()
        options, meta_graph = tf.TF_NewSessionOptions(), tf.TF_NewBuffer()
        self._graph = tf.TF_NewGraph()
        self._session = None
        try:
            with _Status() as status:
                tf.TF_SetConfig(options, config, len(config), status.pointer)
                status.check()
                names = (c_char_p * len(tags))(*(tag.encode() for tag in tags))
                self._session = tf.TF_LoadSessionFromSavedModel(
                    options, None, folder.encode(), names, len(tags), self._graph, meta_graph, status.pointer
                )
                status.check()
            parsed = runtime_pb2.MetaGraphDef.FromString(meta_graph.contents.read())
            self.signatures: dict[str, serving_pb2.SignatureDef] = dict(parsed.signature_def)
            self._outputs: dict[str, _Output] = {}
        except BaseException:
            self.close()
            raise
        finally:
            tf.TF_DeleteBuffer(meta_graph)
            tf.TF_DeleteSessionOptions(options)

    def close(self) -> None:
        with _Status() as status:
            if self._session:
                library().TF_CloseSession(self._session, status.pointer)
                library().TF_DeleteSession(self._session, status.pointer)
        library().TF_DeleteGraph(self._graph)
        self._session = self._graph = None
        give_memory_back()

    def run(
        self, signature: serving_pb2.SignatureDef, inputs: Mapping[str, tensor_pb2.TensorProto], outputs: Sequence[str],
        timeout_ms: int = 0, as_content: bool = False,
    ) -> list[tensor_pb2.TensorProto]:  # fmt: skip
        """The outputs of these names, in their order, for one value for each input of the signature.

        timeout_ms: of this run, 0 or less = none. Values come in typed fields, as from TensorFlow Serving, or with `as_content` as bytes.
        """
        tf = library()
        names = [signature.inputs[alias].name for alias in inputs]
        feeds = [self._find(name, f"FeedInputs: unable to find feed output {name}") for name in names]
        names = [signature.outputs[alias].name for alias in outputs]
        fetches = [self._find(name, f"FetchOutputs node {name}: not found") for name in names]
        fed = (c_void_p * len(feeds))()
        fetched = (c_void_p * len(fetches))()
        try:
            with _Status() as status:
                for i, (alias, proto) in enumerate(inputs.items()):
                    fed[i] = _tensor(alias, proto, status)
                options = runtime_pb2.RunOptions(timeout_in_ms=max(0, timeout_ms)).SerializeToString()
                tf.TF_SessionRun(
                    self._session, byref(_Buffer(options, len(options))), (_Output * len(feeds))(*feeds), fed, len(feeds),
                    (_Output * len(fetches))(*fetches), fetched, len(fetches), None, 0, None, status.pointer,
                )  # fmt: skip
                status.check()
            return [_proto(tensor, as_content) for tensor in fetched]
        finally:
            _delete([*fed, *fetched])

    def _find(self, name: str, missing: str) -> _Output:
        """The operation's output of that graph name, looked up once."""
        if (found := self._outputs.get(name)) is None:
            operation, _, index = name.partition(":")
            pointer = library().TF_GraphOperationByName(self._graph, operation.encode())
            if not pointer:
                raise not_found(missing)
            found = self._outputs[name] = _Output(pointer, int(index or 0))
        return found


def _delete(tensors: Iterable[int | None]) -> None:
    for tensor in tensors:
        if tensor:
            library().TF_DeleteTensor(tensor)


def _tensor(alias: str, proto: tensor_pb2.TensorProto, status: _Status) -> int:
    """A TF_Tensor made by TensorFlow's own reading of the message: tensor_content or typed values, the last one repeated."""
    tf = library()
    tensor: int = tf.TF_AllocateTensor(tensor_pb2.DT_UINT8, None, 0, 1)
    data = proto.SerializeToString()
    tf.TF_TensorFromProto(byref(_Buffer(data, len(data))), tensor, status.pointer)
    try:
        status.check()
    except StatusError as exc:
        tf.TF_DeleteTensor(tensor)
        raise invalid(f"tensor parsing error: {alias}") from exc
    return tensor


def _proto(tensor: int | None, as_content: bool) -> tensor_pb2.TensorProto:
    """The message of a TF_Tensor: every element and the full shape."""
    tf = library()
    dtype = cast("tensor_pb2.DataType", tf.TF_TensorType(tensor))
    proto = tensor_pb2.TensorProto(dtype=dtype)
    for axis in range(tf.TF_NumDims(tensor)):
        proto.tensor_shape.dim.add(size=tf.TF_Dim(tensor, axis))
    data = tf.TF_TensorData(tensor)
    if dtype == tensor_pb2.DT_STRING:
        cells = [data + i * _TSTRING_BYTES for i in range(tf.TF_TensorElementCount(tensor))]
        strings = [ctypes.string_at(tf.TF_StringGetDataPointer(cell), tf.TF_StringGetSize(cell)) for cell in cells]
        if as_content:  # the lengths, then the bytes: EncodeStringList in tensorflow/core/platform/tensor_coding.cc
            proto.tensor_content = b"".join([_varint(len(text)) for text in strings] + strings)
        else:
            proto.string_val.extend(strings)
        return proto
    if dtype not in _FIELDS:
        raise unimplemented(f"an output of type {tensor_pb2.DataType.Name(dtype)} cannot be sent by the stand-in; TensorFlow Serving may")
    content = ctypes.string_at(data, tf.TF_TensorByteSize(tensor))
    if as_content:
        proto.tensor_content = content
    else:
        field, element = _FIELDS[dtype]
        if element in "fd?":  # such a packed field holds the elements as they lie in memory; to merge the bytes takes 1/70 of a list's time
            proto.MergeFromString(_varint(proto.DESCRIPTOR.fields_by_name[field].number << 3 | 2) + _varint(len(content)) + content)
        else:
            getattr(proto, field).extend(memoryview(content).cast(cast(Any, element)).tolist())
    return proto


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
