"""What the store refuses to publish and to copy though every file is as its manifest says: it would do more than compute."""

import itertools
import os
from pathlib import Path

import pytest

from pynumdraw.store import ModelStore, StoreError
from pynumdraw.store.files import sha256
from pynumdraw.store.graph import OPERATIONS
from pynumdraw.store.saved_model_pb2 import AttrValue, MetaGraphDef, NodeDef, TensorProto
from tests.saved_model import meta_graph, saved_model, tensor_info

# What a SavedModel can carry that reads, writes, connects, calls Python, logs, or runs code that is not in the graph.
FORBIDDEN = (
    *("ReadFile", "WriteFile", "MatchingFiles", "SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename", "Save", "Restore"),
    *(
        "TextLineDataset",
        "TFRecordDataset",
        "FixedLengthRecordReaderV2",
        "WholeFileReaderV2",
        "ImmutableConst",
        "InitializeTableFromTextFileV2",
    ),
    *("PyFunc", "EagerPyFunc", "PyFuncStateless", "RpcCall", "RemoteCall", "DataServiceDatasetV4", "CollectiveReduceV2", "Send", "_Recv"),
    *("Print", "PrintV2", "DebugIdentityV3", "DebugNanCount", "Abort", "AudioSummary", "WriteSummary", "CreateSummaryFileWriter"),
    *(
        "PartitionedCall",
        "StatefulPartitionedCall",
        "If",
        "While",
        "XlaLaunch",
        "TPUExecute",
        "DecodeImage",
        "DecodeVariant",
        "VarHandleOp",
    ),
    *("MyOwnOp", "", "const", "Const "),
)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "store", "digits")


def publish(store: ModelStore, content: bytes, **more: bytes) -> int:
    with store.next_version() as draft:
        for name, data in {"saved_model.pb": content, **more}.items():
            (draft.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (draft.folder / name).write_bytes(data)
        draft.publish({})
    return draft.number


def refused(store: ModelStore, content: bytes, reason: str, **more: bytes) -> None:
    """Neither published, nor, where it is in the store with a manifest that fits it, verified or copied."""
    with pytest.raises(StoreError, match=f"^version 1 is refused: {reason}"):
        publish(store, content, **more)
    assert os.listdir(store.folder) == [".lock"]
    publish(store, saved_model())
    manifest = store.path(1) / "manifest.json"
    for name, data in {"saved_model.pb": content, **more}.items():
        path = store.path(1) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        known = path.exists()
        before = f'"size": {path.stat().st_size},\n      "sha256": "{sha256(path)}"' if known else '"files": {'
        path.write_bytes(data)
        entry = f'"size": {len(data)},\n      "sha256": "{sha256(path)}"'
        manifest.write_text(manifest.read_text().replace(before, entry if known else f'{before}"{name}": {{{entry}}},'))
    for action in (lambda: store.verify(1), lambda: store.copy_version(1, store.root.parent / "pod")):
        with pytest.raises(StoreError, match=f"^version 1 is refused: {reason}"):
            action()
    assert os.listdir(store.root.parent / "pod/digits") == [".lock"]


@pytest.mark.parametrize("operation", FORBIDDEN)
def test_an_operation_that_is_not_on_the_list_is_refused_by_name(store, operation):
    reason = f"operation {operation} \\('thief'\\) in the graph is not among those that a version may use"
    refused(store, saved_model(meta_graph(NodeDef(name="thief", op=operation))), reason)


def test_an_operation_in_a_function_that_nothing_calls_is_refused_by_name_and_function(store):
    graph = meta_graph(
        functions={"fine": [NodeDef(name="c", op="Const")], "loot": [NodeDef(name="n", op="Relu"), NodeDef(name="r", op="ReadFile")]}
    )
    refused(store, saved_model(graph), r"operation ReadFile \('r'\) in function 'loot' is not")


def test_an_operation_in_another_meta_graph_is_refused(store):
    other = meta_graph(NodeDef(name="w", op="WriteFile"))
    other.meta_info_def.tags[:] = ["train"]
    refused(store, saved_model(meta_graph(), other), r"operation WriteFile \('w'\) in the graph is not")


@pytest.mark.parametrize("value", [AttrValue(type=21), AttrValue(tensor=TensorProto(dtype=20))], ids=["DT_VARIANT", "DT_RESOURCE"])
def test_a_value_of_a_type_that_code_decodes_is_refused(store, value):
    refused(
        store,
        saved_model(meta_graph(NodeDef(name="c", op="Const", attr={"value": value}))),
        "value of 'c' in the graph has type 2[01], a plain",
    )


def test_what_is_on_the_list_is_published_and_copied(store, tmp_path):
    nodes = [NodeDef(name=operation, op=operation) for operation in sorted(OPERATIONS)]
    assert publish(store, saved_model(meta_graph(*nodes, functions={"f": nodes}))) == 1
    store.verify(1)
    store.copy_version(1, tmp_path / "pod")


@pytest.mark.parametrize(
    "name",
    [
        *("saved_model.pbtxt", "saved_model.cpb", "fingerprint.pb", "variables/variables.index", "assets/vocabulary.txt", "model.tflite"),
        *("batching_params.pbtxt", "keras_metadata.pb", "assets.extra/more", "report/more/files", "reports", "aot_packages/x"),
    ],
)
def test_a_file_that_tensorflow_might_load_is_refused_by_name(store, name):
    refused(store, saved_model(), f"it holds {name}, which TensorFlow might load; wanted are saved_model.pb, ", **{name: b"x"})


@pytest.mark.parametrize("content", [b"no protobuf", saved_model()[:-1], saved_model() * 0 + b"\x0a"], ids=["text", "cut", "tag alone"])
def test_a_graph_that_cannot_be_parsed_is_refused(store, content):
    refused(store, content, "its saved_model.pb cannot be parsed")


def test_an_empty_saved_model_is_refused(store):
    refused(store, b"", "its saved_model.pb holds no graph")


def _drop(graph: MetaGraphDef) -> None:
    del graph.signature_def["card"]


def _add(graph: MetaGraphDef) -> None:
    graph.signature_def["debug"].CopyFrom(graph.signature_def["card"])


def _method(graph: MetaGraphDef) -> None:
    graph.signature_def["card"].method_name = "tensorflow/serving/classify"


def _input(graph: MetaGraphDef) -> None:
    graph.signature_def["card"].inputs["path"].CopyFrom(tensor_info("path", "DT_STRING[]"))


def _output(graph: MetaGraphDef) -> None:
    del graph.signature_def["serving_default"].outputs["confidence"]


def _type(graph: MetaGraphDef) -> None:
    graph.signature_def["serving_default"].inputs["images"].dtype = 7


def _unknown_type(graph: MetaGraphDef) -> None:
    graph.signature_def["serving_default"].inputs["images"].dtype = 19


def _shape(graph: MetaGraphDef) -> None:
    graph.signature_def["serving_default"].outputs["probabilities"].CopyFrom(tensor_info("p", "DT_FLOAT[?,11]"))


def _rank(graph: MetaGraphDef) -> None:
    graph.signature_def["serving_default"].inputs["images"].tensor_shape.unknown_rank = True


def _sparse(graph: MetaGraphDef) -> None:
    graph.signature_def["serving_default"].inputs["images"].name = ""


SIGNATURE_FAULTS = {
    _drop: r"it has the signatures \['serving_default'\], \['card', 'serving_default'\] were wanted",
    _add: r"it has the signatures \['card', 'debug', 'serving_default'\]",
    _method: "signature card has method 'tensorflow/serving/classify', 'tensorflow/serving/predict' was wanted",
    _input: r"signature card has the inputs \['path'\], \[\] were wanted",
    _output: r"signature serving_default has the outputs \['accepted', 'ambiguous', 'digit', ",
    _type: r"images of signature serving_default is DT_STRING\[\?,28,28\], DT_UINT8\[\?,28,28\] was wanted",
    _unknown_type: r"images of signature serving_default is type 19\[\?,28,28\], DT_UINT8\[\?,28,28\] was wanted",
    _shape: r"probabilities of signature serving_default is DT_FLOAT\[\?,11\], DT_FLOAT\[\?,10\] was wanted",
    _rank: r"images of signature serving_default is DT_UINT8 of unknown rank, ",
    _sparse: r"images of signature serving_default is no plain tensor, ",
}


@pytest.mark.parametrize(("change", "reason"), SIGNATURE_FAULTS.items(), ids=lambda value: getattr(value, "__name__", None))
def test_signatures_that_are_not_ours_are_refused_with_what_was_found_and_wanted(store, change, reason):
    graph = meta_graph()
    change(graph)
    refused(store, saved_model(graph), reason)


def test_the_list_has_nothing_that_touches_the_world():
    assert not OPERATIONS & set(FORBIDDEN)
    words = (
        "File",
        "Read",
        "Write",
        "Save",
        "Restore",
        "Print",
        "Debug",
        "Py",
        "Call",
        "Dataset",
        "Variable",
        "Handle",
        "Send",
        "Recv",
        "Summary",
    )
    assert [operation for operation, word in itertools.product(OPERATIONS, words) if word in operation] == []
