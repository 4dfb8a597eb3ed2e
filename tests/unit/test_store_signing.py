"""Signed versions: what no trusted key signed as it is, under its name and number, is refused in words; the rest is served."""

import datetime
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from pynumdraw.store import ModelStore, StoreError
from pynumdraw.store.__main__ import main
from pynumdraw.store.files import sha256
from pynumdraw.store.signing import SigningKey, TrustedKeys, make_key
from tests.saved_model import saved_model
from tests.stack import ROOT


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Path:
    """A folder with ours/, theirs/ (key.pem and key.pub each), authority/ (a certificate that signed leaf.pem, of leaf.key) and rsa.pub."""
    folder = tmp_path_factory.mktemp("keys")
    make_key(folder / "ours")
    make_key(folder / "theirs")
    (folder / "authority").mkdir()
    root_key, root = _certificate("authority", None, None)
    leaf_key, leaf = _certificate("trainer", root_key, root)
    pem = serialization.Encoding.PEM
    (folder / "authority/root.crt").write_bytes(root.public_bytes(pem))
    (folder / "leaf.pem").write_bytes(leaf.public_bytes(pem) + root.public_bytes(pem))
    (folder / "leaf.key").write_bytes(leaf_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    rsa_key = rsa.generate_private_key(65537, 2048).public_key()
    (folder / "rsa.pub").write_bytes(rsa_key.public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return folder


def _certificate(name: str, issuer_key, issuer) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign", "encipher_only", "decipher_only"),
        False,
    )
    builder = (
        x509.CertificateBuilder(issuer.subject if issuer else subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=issuer is None, **usage), critical=True)
    )
    return key, builder.sign(issuer_key or key, hashes.SHA256())


@pytest.fixture
def store(tmp_path, keys) -> ModelStore:
    """One that signs and trusts ours."""
    return ModelStore(
        tmp_path / "store",
        "digits",
        trusted_keys=TrustedKeys(keys / "ours/key.pub"),
        signing_key=SigningKey(keys / "ours/key.pem"),
    )


def publish(store: ModelStore, warmup: bytes = b"warm-up") -> int:
    with store.next_version() as draft:
        (draft.folder / "saved_model.pb").write_bytes(saved_model())
        (draft.folder / "assets.extra").mkdir()
        (draft.folder / "assets.extra/tf_serving_warmup_requests").write_bytes(warmup)
        draft.publish({"recipe": "quick"})
    return draft.number


def unsigned(store: ModelStore) -> ModelStore:
    """The same store for a publisher without a key, and for whoever looks at no signature."""
    return ModelStore(store.root, store.name)


def rewrite_manifest(folder: Path, **fields: object) -> None:
    """What anyone does who may write the store: files and manifest fit each other."""
    manifest = json.loads((folder / "manifest.json").read_text()) | fields
    for file, entry in manifest["files"].items():
        entry.update(size=(folder / file).stat().st_size, sha256=sha256(folder / file))
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_signed_version_is_valid_and_copied_with_its_signature(store, tmp_path):
    assert publish(store) == 1
    assert store.verify(1) == "key.pub"
    copy = store.copy_version(1, tmp_path / "pod")
    assert sorted(os.listdir(copy)) == ["assets.extra", "manifest.json", "model.sig", "saved_model.pb"]
    assert "model.sig" not in store.manifest(1)["files"]
    unsigned(store).verify(1)
    assert re.fullmatch(r"key [0-9a-f]{16} \(not checked\)", unsigned(store).verify(1))


def _change_file(store: ModelStore, keys: Path) -> None:
    (store.path(1) / "assets.extra/tf_serving_warmup_requests").write_bytes(b"loot")
    rewrite_manifest(store.path(1))


def _add_file(store: ModelStore, keys: Path) -> None:
    (store.path(1) / "report").mkdir()
    (store.path(1) / "report/more").write_bytes(b"")
    rewrite_manifest(store.path(1), files={file: {} for file in (*store.manifest(1)["files"], "report/more")})


def _remove_file(store: ModelStore, keys: Path) -> None:
    (store.path(1) / "assets.extra/tf_serving_warmup_requests").unlink()
    rewrite_manifest(store.path(1), files={"saved_model.pb": {}})


def _change_manifest(store: ModelStore, keys: Path) -> None:
    rewrite_manifest(store.path(1), recipe="best")


def _unsigned(store: ModelStore, keys: Path) -> None:
    (store.path(1) / "model.sig").unlink()


def _stranger(store: ModelStore, keys: Path) -> None:
    (store.path(1) / "model.sig").unlink()
    SigningKey(keys / "theirs/key.pem").sign(store.path(1))


def _stranger_who_claims_to_be_us(store: ModelStore, keys: Path) -> None:
    ours = json.loads((store.path(1) / "model.sig").read_text())
    _stranger(store, keys)
    theirs = json.loads((store.path(1) / "model.sig").read_text())
    (store.path(1) / "model.sig").write_text(json.dumps(theirs | {"verificationMaterial": ours["verificationMaterial"]}))


def _certificate_of_a_stranger(store: ModelStore, keys: Path) -> None:
    (store.path(1) / "model.sig").unlink()
    SigningKey(keys / "leaf.key", keys / "leaf.pem").sign(store.path(1))


def _no_signatures(store: ModelStore, keys: Path) -> None:
    bundle = json.loads((store.path(1) / "model.sig").read_text())
    bundle["dsseEnvelope"]["signatures"] = []
    (store.path(1) / "model.sig").write_text(json.dumps(bundle))


def _written(text: str) -> Callable[[ModelStore, Path], object]:
    return lambda store, keys: (store.path(1) / "model.sig").write_text(text)


def _signature_of_another_version(store: ModelStore, keys: Path) -> None:
    publish(store, b"other")
    shutil.copyfile(store.path(2) / "model.sig", store.path(1) / "model.sig")


def _poses_as_another(store: ModelStore, keys: Path) -> None:
    """An old version under a new number, its manifest made to fit."""
    publish(store, b"a newer one")
    shutil.rmtree(store.path(1))
    store.path(2).rename(store.path(1))
    rewrite_manifest(store.path(1), version=1)


CHANGED = "^version 1 is refused: it was changed after key.pub signed it: "
REFUSED = {
    _change_file: CHANGED + "assets.extra/tf_serving_warmup_requests, manifest.json$",
    _add_file: CHANGED + "report/more, manifest.json$",
    _remove_file: CHANGED + "assets.extra/tf_serving_warmup_requests, manifest.json$",
    _change_manifest: CHANGED + "manifest.json$",
    _signature_of_another_version: CHANGED + "assets.extra/tf_serving_warmup_requests, manifest.json$",
    _poses_as_another: CHANGED + "manifest.json$",
    _unsigned: "^version 1 is refused: it is not signed$",
    _stranger: "^version 1 is refused: it is signed by key [0-9a-f]{16}, which is not trusted; trusted are key.pub$",
    _stranger_who_claims_to_be_us: "^version 1 is refused: its signature names key [0-9a-f]{16}, which did not make it$",
    _certificate_of_a_stranger: "^version 1 is refused: it is signed by a certificate, which is not trusted; trusted are key.pub$",
    _no_signatures: "^version 1 is refused: its signature names key [0-9a-f]{16}, which did not make it$",
    _written(""): "^version 1 is refused: its model.sig is no signature of Model Signing$",
    _written("[" * 99_999): "its model.sig is no signature of Model Signing$",
    _written('{"verificationMaterial": {"publicKey": 1}}'): "its model.sig is no signature of Model Signing$",
    _written(" " * (1 << 21)): "model.sig has more than the 1048576 bytes that it may have$",
}


@pytest.mark.parametrize(("attack", "reason"), REFUSED.items(), ids=lambda value: getattr(value, "__name__", None))
def test_what_no_trusted_key_signed_as_it_is_is_refused_in_words(store, keys, tmp_path, attack, reason):
    publish(store)
    attack(store, keys)
    with pytest.raises(StoreError, match=reason):
        store.verify(1)
    with pytest.raises(StoreError, match=reason):
        store.copy_version(1, tmp_path / "pod")
    assert os.listdir(tmp_path / "pod/digits") == [".lock"]


@pytest.mark.parametrize("content", ["", "[]", '{"verificationMaterial": 1}', " " * (1 << 21)], ids=["empty", "list", "number", "long"])
def test_a_signature_that_is_none_is_refused_also_where_no_key_is_trusted(store, tmp_path, content, capsys):
    publish(store)
    (store.path(1) / "model.sig").write_text(content)
    with pytest.raises(StoreError, match=r"model\.sig (is no signature of Model Signing|has more than the 1048576 bytes)"):
        unsigned(store).copy_version(1, tmp_path / "pod")
    assert main(["list", "--store", str(store.root), "--name", "digits", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["state"], row["recipe"], row["signer"]) == ("corrupt", "quick", None)


def test_a_renamed_folder_is_refused(store, tmp_path):
    publish(store)
    store.path(1).rename(store.path(7))
    with pytest.raises(StoreError, match=r"/7 is corrupt: its manifest\.json says version 1, 7 was wanted"):
        store.copy_version(7, tmp_path / "pod")


def test_a_version_of_another_model_that_the_same_key_signed_is_refused(store, tmp_path):
    letters = ModelStore(store.root, "letters", signing_key=store.signing_key)
    publish(letters)
    shutil.copytree(letters.path(1), store.path(1))
    with pytest.raises(StoreError, match="says model 'letters', 'digits' was wanted"):
        store.copy_version(1, tmp_path / "pod")


def test_the_pods_own_copy_is_checked_at_every_start(store, keys, tmp_path):
    """Copied before signing was on, it is replaced by the signed one; where the store has none, it is refused."""
    publish(unsigned(store))
    unsigned(store).copy_version(1, tmp_path / "pod")
    with pytest.raises(StoreError, match="version 1 is refused: it is not signed"):
        store.copy_version(1, tmp_path / "pod")
    SigningKey(keys / "ours/key.pem").sign(store.path(1))
    store.copy_version(1, tmp_path / "pod")
    assert (tmp_path / "pod/digits/1/model.sig").exists()


def test_keys_are_rotated_by_trusting_two_for_a_while(store, keys, tmp_path):
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    shutil.copyfile(keys / "ours/key.pub", trusted / "2026.pub")
    shutil.copyfile(keys / "theirs/key.pub", trusted / "2027.pub")
    shutil.copyfile(keys / "authority/root.crt", trusted / "authority.crt")
    both = ModelStore(store.root, store.name, trusted_keys=TrustedKeys(trusted))
    publish(store)
    publish(ModelStore(store.root, store.name, signing_key=SigningKey(keys / "theirs/key.pem")))
    publish(ModelStore(store.root, store.name, signing_key=SigningKey(keys / "leaf.key", keys / "leaf.pem")))
    assert [both.verify(number) for number in (1, 2, 3)] == ["2026.pub", "2027.pub", "authority.crt"]
    (trusted / "2026.pub").unlink()
    with pytest.raises(StoreError, match=r"version 1 is refused: .* trusted are 2027\.pub, authority\.crt"):
        ModelStore(store.root, store.name, trusted_keys=TrustedKeys(trusted)).verify(1)


def test_trusted_keys_are_read_from_a_mounted_configmap(keys, tmp_path):
    """Its files are links into a hidden folder, which is itself a link."""
    (tmp_path / "..2026").mkdir()
    shutil.copyfile(keys / "ours/key.pub", tmp_path / "..2026/key.pub")
    (tmp_path / "..data").symlink_to("..2026", target_is_directory=True)
    (tmp_path / "key.pub").symlink_to("..data/key.pub")
    TrustedKeys(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("key.pub", "no key", "cannot use the trusted key .*/key.pub: "),
        ("private", Path("ours/key.pem"), "cannot use the trusted key .*/private: "),
        ("key.pub", Path("rsa.pub"), "cannot use the trusted key .*/key.pub: 'an elliptic curve key was wanted'"),
        (".hidden", "no key", "cannot read the trusted keys .*: the folder holds none"),
    ],
    ids=["garbage", "private key", "RSA", "none"],
)
def test_trusted_keys_that_are_none_are_one_sentence(keys, tmp_path, name, content, reason):
    (tmp_path / name).write_text((keys / content).read_text() if isinstance(content, Path) else content)
    with pytest.raises(StoreError, match=reason):
        TrustedKeys(tmp_path)


@pytest.mark.parametrize(
    ("key", "certificate"),
    [("ours/key.pub", None), ("none", None), ("ours/key.pem", "leaf.pem")],
    ids=["public", "missing", "not its certificate"],
)
def test_a_signing_key_that_cannot_be_used_is_one_sentence_before_anything_is_trained(keys, key, certificate):
    with pytest.raises(StoreError, match=r"^cannot use the signing key .*: "):
        SigningKey(keys / key, certificate and keys / certificate)


def test_a_made_key_is_its_owners_alone_and_never_overwritten(keys, tmp_path, capsys):
    assert main(["keygen", str(tmp_path / "new")]) == 0
    assert "key.pem signs: give it to the trainer alone." in capsys.readouterr().out
    assert (tmp_path / "new/key.pem").stat().st_mode & 0o777 == 0o600
    before = (tmp_path / "new/key.pem").read_bytes()
    assert main(["keygen", str(tmp_path / "new")]) == 2
    assert (tmp_path / "new/key.pem").read_bytes() == before


def test_list_and_verify_show_who_signed(store, keys, capsys):
    publish(store)
    publish(unsigned(store))
    common = ["--store", str(store.root), "--name", "digits"]
    trusted = [*common, "--trusted-keys", str(keys / "ours")]
    (keys / "ours/key.pem").rename(keys / "key.pem")  # a folder of trusted keys holds no private one
    try:
        assert main(["list", *trusted, "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert [(row["signer"], row["state"]) for row in rows] == [("key.pub", "valid"), (None, "corrupt")]
        assert rows[1]["reason"] == "version 2 is refused: it is not signed"
        assert main(["verify", *trusted]) == 2
        assert capsys.readouterr() == ("version 1 is valid, signed by key.pub\n", "version 2 is refused: it is not signed\n")
    finally:
        (keys / "key.pem").rename(keys / "ours/key.pem")
    assert main(["verify", *common]) == 0
    assert re.fullmatch(
        r"version 1 is valid, signed by key [0-9a-f]{16} \(not checked\)\nversion 2 is valid, not signed\n", capsys.readouterr().out
    )


def test_publishers_killed_at_random_moments_leave_signed_versions_and_no_number_is_used_twice():
    """`python -m tests.kills` alone kills 1,000."""
    done = subprocess.run([sys.executable, "-m", "tests.kills", "--times", "25"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("kills 25, ")


def test_without_the_package_a_version_is_refused_not_believed(store, keys, tmp_path):
    """The gateway's image is without it."""
    publish(store)
    hide = "import sys; sys.modules['model_signing'] = None\n"
    run = "from pynumdraw.store.__main__ import main; sys.exit(main(sys.argv[1:]))"
    command = [
        "fetch",
        "--store",
        store.root,
        "--name",
        "digits",
        "--version",
        1,
        "--to",
        tmp_path / "pod",
        "--trusted-keys",
        keys / "ours/key.pub",
    ]
    done = subprocess.run([sys.executable, "-c", hide + run, *map(str, command)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert re.fullmatch(
        r"cannot read the trusted keys .*key.pub: model_signing is not installed here; requirements/store.txt has it\n", done.stderr
    )
