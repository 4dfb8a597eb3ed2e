"""Our messages and those of tensorflow-serving-api are the same on the wire. Both are loaded here, in one process."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import Message
from tensorflow.core.framework import attr_value_pb2, function_pb2, graph_pb2, node_def_pb2, op_def_pb2, tensor_shape_pb2, types_pb2
from tensorflow.core.framework import tensor_pb2 as upstream_tensor
from tensorflow.core.protobuf import config_pb2, error_codes_pb2, meta_graph_pb2, saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
    status_pb2,
)

from modelserver import runtime_pb2
from pynumdraw import wire
from pynumdraw.store import saved_model_pb2 as stored
from pynumdraw.wire import serving_pb2, tensor_pb2

SAME = [
    (serving_pb2.ModelSpec, model_pb2.ModelSpec),
    (serving_pb2.PredictRequest, predict_pb2.PredictRequest),
    (serving_pb2.PredictResponse, predict_pb2.PredictResponse),
    (serving_pb2.StatusProto, status_pb2.StatusProto),
    (serving_pb2.GetModelStatusRequest, get_model_status_pb2.GetModelStatusRequest),
    (serving_pb2.GetModelStatusResponse, get_model_status_pb2.GetModelStatusResponse),
    (serving_pb2.ModelVersionStatus, get_model_status_pb2.ModelVersionStatus),
    (serving_pb2.GetModelMetadataRequest, get_model_metadata_pb2.GetModelMetadataRequest),
    (serving_pb2.GetModelMetadataResponse, get_model_metadata_pb2.GetModelMetadataResponse),
    (serving_pb2.SignatureDefMap, get_model_metadata_pb2.SignatureDefMap),
    (serving_pb2.SignatureDef, meta_graph_pb2.SignatureDef),
    (serving_pb2.TensorInfo, meta_graph_pb2.TensorInfo),
    (serving_pb2.PredictionLog, prediction_log_pb2.PredictionLog),
    (serving_pb2.PredictLog, prediction_log_pb2.PredictLog),
    (tensor_pb2.TensorProto, upstream_tensor.TensorProto),
    (tensor_pb2.TensorShapeProto, tensor_shape_pb2.TensorShapeProto),
    (runtime_pb2.MetaGraphDef, meta_graph_pb2.MetaGraphDef),
    (runtime_pb2.ConfigProto, config_pb2.ConfigProto),
    (runtime_pb2.RunOptions, config_pb2.RunOptions),
    (stored.SavedModel, saved_model_pb2.SavedModel),
    (stored.MetaGraphDef, meta_graph_pb2.MetaGraphDef),
    (stored.MetaGraphDef.MetaInfoDef, meta_graph_pb2.MetaGraphDef.MetaInfoDef),
    (stored.GraphDef, graph_pb2.GraphDef),
    (stored.FunctionDefLibrary, function_pb2.FunctionDefLibrary),
    (stored.FunctionDef, function_pb2.FunctionDef),
    (stored.OpDef, op_def_pb2.OpDef),
    (stored.NodeDef, node_def_pb2.NodeDef),
    (stored.AttrValue, attr_value_pb2.AttrValue),
    (stored.TensorProto, upstream_tensor.TensorProto),
    (stored.TensorShapeProto, tensor_shape_pb2.TensorShapeProto),
    (stored.SignatureDef, meta_graph_pb2.SignatureDef),
    (stored.TensorInfo, meta_graph_pb2.TensorInfo),
]


@pytest.mark.parametrize(("ours", "theirs"), SAME, ids=[ours.DESCRIPTOR.full_name for ours, _ in SAME])
def test_each_of_our_fields_is_upstream_s_of_that_number(ours: type[Message], theirs: type[Message]) -> None:
    assert ours.DESCRIPTOR.name == theirs.DESCRIPTOR.name
    numbered = theirs.DESCRIPTOR.fields_by_number
    for field in ours.DESCRIPTOR.fields:
        other = numbered[field.number]
        assert (field.name, field.type, field.is_repeated) == (other.name, other.type, other.is_repeated)
        assert (field.containing_oneof and field.containing_oneof.name) == (other.containing_oneof and other.containing_oneof.name)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (tensor_pb2.DataType, types_pb2.DataType),
        (serving_pb2.Code, error_codes_pb2.Code),
        (serving_pb2.ModelVersionStatus.State, get_model_status_pb2.ModelVersionStatus.State),
    ],
    ids=["DataType", "Code", "State"],
)
def test_each_of_our_enum_values_is_upstream_s(ours: Any, theirs: Any) -> None:
    assert dict(ours.items()).items() <= dict(theirs.items()).items()


def both(ours: Message, theirs: Message) -> None:
    """The two hold the same bytes, and each reads the other's."""
    written = ours.SerializeToString(deterministic=True)
    assert written == theirs.SerializeToString(deterministic=True)
    assert type(ours).FromString(written) == ours
    assert type(theirs).FromString(written) == theirs


IMAGES = np.arange(2 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(2, 28, 28)
ARRAYS = {
    "images": IMAGES,
    "scalar": np.float32(0.5).reshape(()),
    "none": np.zeros((0, 28, 28), np.uint8),
    **{dtype: np.array([[1, 0, 1]], dtype) for dtype in ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")},
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS.keys())
def test_an_array_is_written_as_tensorflow_writes_it(array: np.ndarray) -> None:
    reference = tf.make_tensor_proto(array)
    if array.size == 1 or array.dtype == bool:  # these TensorFlow writes into typed fields; the bytes say the same
        read = tf.make_ndarray(upstream_tensor.TensorProto.FromString(wire.to_tensor(array).SerializeToString()))
        assert (read.dtype, read.shape, read.tolist()) == (array.dtype, array.shape, array.tolist())
    else:
        both(wire.to_tensor(array), reference)


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS.keys())
def test_what_tensorflow_writes_is_read_as_it_was(array: np.ndarray) -> None:
    read = wire.from_tensor(tensor_pb2.TensorProto.FromString(tf.make_tensor_proto(array).SerializeToString()))
    assert (read.dtype, read.shape) == (array.dtype, array.shape)
    assert np.array_equal(read, array)


@pytest.mark.parametrize(
    "reference",
    [
        upstream_tensor.TensorProto(dtype=1, float_val=[1, 2, 3], tensor_shape=tf.TensorShape([3]).as_proto()),
        upstream_tensor.TensorProto(dtype=1, float_val=[1, 2], tensor_shape=tf.TensorShape([2, 2]).as_proto()),
        upstream_tensor.TensorProto(dtype=1, tensor_shape=tf.TensorShape([2]).as_proto()),
        upstream_tensor.TensorProto(dtype=7, string_val=[b"{}"], tensor_shape=tf.TensorShape([]).as_proto()),
        upstream_tensor.TensorProto(dtype=10, bool_val=[True, False], tensor_shape=tf.TensorShape([2]).as_proto()),
        upstream_tensor.TensorProto(dtype=9, int64_val=[2**40], tensor_shape=tf.TensorShape([1]).as_proto()),
    ],
    ids=["all values", "the last repeats", "no values", "string", "bool", "int64"],
)
def test_typed_fields_are_read_as_tensorflow_reads_them(reference: Any) -> None:
    read = wire.from_tensor(tensor_pb2.TensorProto.FromString(reference.SerializeToString()))
    expected = tf.make_ndarray(reference)
    assert read.shape == expected.shape
    assert read.tolist() == expected.tolist()


def predict_request(messages: Any, spec: Any, tensor: Callable[[np.ndarray], Any]) -> Any:
    request = messages.PredictRequest(output_filter=["probabilities", "logits"])
    request.model_spec.CopyFrom(spec)
    request.inputs["images"].CopyFrom(tensor(IMAGES))
    return request


def test_a_predict_request_is_the_same_bytes() -> None:
    reference = model_pb2.ModelSpec(name="digits", signature_name="serving_default")
    reference.version.value = 7
    spec = wire.model_spec("digits", 7, "serving_default")
    both(spec, reference)
    both(predict_request(serving_pb2, spec, wire.to_tensor), predict_request(predict_pb2, reference, tf.make_tensor_proto))


def test_version_zero_is_a_version_and_a_label_takes_its_place() -> None:
    spec, reference = wire.model_spec("digits", 0), model_pb2.ModelSpec(name="digits")
    reference.version.value = 0
    both(spec, reference)
    spec.version_label = reference.version_label = "stable"
    both(spec, reference)
    assert not spec.HasField("version")


def test_a_predict_response_is_the_same_bytes() -> None:
    def fill(response: Any, dtype: int) -> Any:
        response.model_spec.name, response.model_spec.version.value = "digits", 3
        response.outputs["probabilities"].dtype = dtype
        response.outputs["probabilities"].float_val.extend([0.25, 0.75])
        response.outputs["probabilities"].tensor_shape.dim.add(size=2)
        return response

    both(fill(serving_pb2.PredictResponse(), tensor_pb2.DT_FLOAT), fill(predict_pb2.PredictResponse(), tf.float32.as_datatype_enum))


def test_metadata_names_upstream_s_type_and_is_unpacked_by_it() -> None:
    def describe(info: Any) -> None:
        info.name, info.dtype = "images:0", 4
        info.tensor_shape.dim.add(size=-1)

    ours, theirs = serving_pb2.SignatureDefMap(), get_model_metadata_pb2.SignatureDefMap()
    for signatures in (ours, theirs):
        describe(signatures.signature_def["serving_default"].inputs["images"])
        signatures.signature_def["serving_default"].method_name = "tensorflow/serving/predict"
    reply, reference = serving_pb2.GetModelMetadataResponse(), get_model_metadata_pb2.GetModelMetadataResponse()
    reference.metadata["signature_def"].Pack(theirs)
    reply.metadata["signature_def"].type_url = f"type.googleapis.com/{theirs.DESCRIPTOR.full_name}"
    reply.metadata["signature_def"].value = ours.SerializeToString()
    both(reply, reference)


def test_model_status_is_the_same_bytes() -> None:
    def fill(response: Any) -> Any:
        for version, state in ((2, 50), (1, 30)):
            entry = response.model_version_status.add(version=version, state=state)
            entry.status.error_code, entry.status.error_message = (5, "corrupt") if state == 50 else (0, "")
        return response

    both(fill(serving_pb2.GetModelStatusResponse()), fill(get_model_status_pb2.GetModelStatusResponse()))


def test_a_warm_up_record_is_the_same_bytes() -> None:
    ours, theirs = serving_pb2.PredictionLog(), prediction_log_pb2.PredictionLog()
    spec, reference = wire.model_spec("digits"), model_pb2.ModelSpec(name="digits")
    ours.predict_log.request.CopyFrom(predict_request(serving_pb2, spec, wire.to_tensor))
    theirs.predict_log.request.CopyFrom(predict_request(predict_pb2, reference, tf.make_tensor_proto))
    both(ours, theirs)


def test_other_kinds_of_warm_up_records_are_distinguished() -> None:
    for kind in ("classify_log", "regress_log", "multi_inference_log", "session_run_log", "predict_streamed_log"):
        theirs = prediction_log_pb2.PredictionLog()
        getattr(theirs, kind).SetInParent()
        assert serving_pb2.PredictionLog.FromString(theirs.SerializeToString()).WhichOneof("log_type") == kind


def test_the_methods_paths_are_upstream_s() -> None:
    class Channel:
        """Records the paths that upstream's stubs ask for."""

        def __init__(self) -> None:
            self.paths: set[str] = set()

        def unary_unary(self, path: str, *_: Any, **__: Any) -> None:
            self.paths.add(path)

    channel = Channel()
    prediction_service_pb2_grpc.PredictionServiceStub(channel)
    model_service_pb2_grpc.ModelServiceStub(channel)
    assert {wire.PREDICT, wire.GET_MODEL_METADATA, wire.GET_MODEL_STATUS} <= channel.paths


def test_an_array_that_cannot_be_sent_is_refused_by_its_dtype() -> None:
    with pytest.raises(TypeError, match="dtype complex128 cannot be sent; wanted one of "):
        wire.to_tensor(np.zeros(2, np.complex128))


@pytest.mark.parametrize(
    ("tensor", "error", "words"),
    [
        (tensor_pb2.TensorProto(dtype=tensor_pb2.DT_FLOAT, tensor_shape={"unknown_rank": True}), ValueError, "wanted a fully known shape"),
        (tensor_pb2.TensorProto(dtype=tensor_pb2.DT_FLOAT, tensor_shape={"dim": [{"size": -1}]}), ValueError, r"found \(-1,\), wanted"),
        (tensor_pb2.TensorProto(dtype=tensor_pb2.DT_COMPLEX64, tensor_shape={"dim": [{"size": 1}]}), TypeError, "type DT_COMPLEX64; "),
    ],
    ids=["no rank", "a size unknown", "complex"],
)
def test_a_tensor_that_cannot_be_read_is_refused_by_its_field(tensor: tensor_pb2.TensorProto, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        wire.from_tensor(tensor)
