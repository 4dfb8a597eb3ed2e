"""The messages of TensorFlow Serving that we use, and the conversion of arrays to and from them.

Only field numbers, method paths and the type name inside an `Any` go over the wire. So these classes have a proto package of their own
and can be loaded beside `tensorflow-serving-api` in one process, where a test shows that both write the same bytes. `make protos` generates
`*_pb2.py` and `*_pb2.pyi` from the `.proto` files in this folder.
"""

import numpy as np

from pynumdraw.wire import serving_pb2, tensor_pb2

PREDICT = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
GET_MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"

# name of the numpy dtype → (DataType, the typed field with its values). tensorflow/core/framework/tensor.proto
_NUMERIC = {
    "float32": (tensor_pb2.DT_FLOAT, "float_val"),
    "float64": (tensor_pb2.DT_DOUBLE, "double_val"),
    "int32": (tensor_pb2.DT_INT32, "int_val"),
    "uint8": (tensor_pb2.DT_UINT8, "int_val"),
    "int16": (tensor_pb2.DT_INT16, "int_val"),
    "int8": (tensor_pb2.DT_INT8, "int_val"),
    "int64": (tensor_pb2.DT_INT64, "int64_val"),
    "bool": (tensor_pb2.DT_BOOL, "bool_val"),
}
_DTYPE = {number: (np.dtype(name), field) for name, (number, field) in _NUMERIC.items()}


def to_tensor(array: np.ndarray) -> tensor_pb2.TensorProto:
    """A numeric array as a TensorProto with its bytes in `tensor_content`, as `tf.make_tensor_proto` writes it.

    Raises TypeError for an unsupported dtype.
    """
    try:
        number, _ = _NUMERIC[array.dtype.name]
    except KeyError:
        raise TypeError(f"dtype {array.dtype} cannot be sent; wanted one of {', '.join(_NUMERIC)}") from None
    shape = tensor_pb2.TensorShapeProto(dim=[tensor_pb2.TensorShapeProto.Dim(size=n) for n in array.shape])
    return tensor_pb2.TensorProto(dtype=number, tensor_shape=shape, tensor_content=array.tobytes())


def from_tensor(tensor: tensor_pb2.TensorProto) -> np.ndarray:
    """The array in a TensorProto, read from `tensor_content` or from the typed field; strings have dtype object (bytes).

    TensorFlow Serving's replies use the typed fields. Where those have fewer values than the shape, the last value is repeated; where they
    have none, all elements are 0. Raises ValueError for a tensor without a full shape or with missing bytes, TypeError for an unsupported
    type.
    """
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if tensor.tensor_shape.unknown_rank or any(n < 0 for n in shape):
        raise ValueError(f"tensor_shape: found {shape}, wanted a fully known shape")
    count = int(np.prod(shape, dtype=np.int64))
    if tensor.dtype == tensor_pb2.DT_STRING:
        values = np.array(list(tensor.string_val) or [b""], object)
    elif tensor.dtype not in _DTYPE:
        raise TypeError(f"tensor of type {tensor_pb2.DataType.Name(tensor.dtype)}; wanted one of {', '.join(_NUMERIC)}, string")
    elif tensor.tensor_content:
        dtype, _ = _DTYPE[tensor.dtype]
        if len(tensor.tensor_content) != count * dtype.itemsize:
            raise ValueError(
                f"tensor_content has {len(tensor.tensor_content)} bytes, shape {shape} of {dtype} wants {count * dtype.itemsize}"
            )
        return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
    else:
        dtype, field = _DTYPE[tensor.dtype]
        values = np.array(getattr(tensor, field) or [0], dtype)
    if len(values) < count:
        values = np.concatenate([values, np.full(count - len(values), values[-1], values.dtype)])
    return values[:count].reshape(shape)


def model_spec(name: str, version: int | None = None, signature_name: str = "") -> serving_pb2.ModelSpec:
    """The model and the version of it to use; version None is the newest available one."""
    spec = serving_pb2.ModelSpec(name=name, signature_name=signature_name)
    if version is not None:
        spec.version.value = version
    return spec
