"""Who made a version: an OpenSSF Model Signing signature that lies in it, and the keys that are trusted.

The signature covers every other file of the version, manifest.json with its model name and number too: no version can pose as another.
`model_signing` is imported where something is signed or checked, and only there: the gateway's image is without it.
"""

import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pynumdraw.store.files import StoreError, quoted, read
from pynumdraw.store.manifest import SIGNATURE

_MAX_PEM_BYTES = 1 << 16  # arbitrary: of a key, or a certificate with its chain
_MAX_SIGNATURE_BYTES = 1 << 20  # ours has about 3,000
_KEY_CHARACTERS = 16  # of a key's SHA-256, to tell keys apart in sentences
_BY_CERTIFICATE = "a certificate"


@dataclass(frozen=True)
class SigningKey:
    """The private key that signs what is published, and its certificate where those who verify trust an authority, not the key itself."""

    private_key: Path
    """PEM, an elliptic curve key (P-256, P-384 or P-521) without a password."""
    certificate: Path | None = None
    """PEM, the key's certificate; further ones in the file lead to the authority that is trusted."""

    def __post_init__(self) -> None:
        self._config()  # a key that cannot be used is refused now, not after a training

    def sign(self, folder: Path) -> None:
        """Write the signature of everything in the folder. Raises StoreError."""
        with _translated(f"sign {folder}"):
            self._config().set_hashing_config(_hashing()).sign(folder, folder / SIGNATURE)

    def _config(self) -> Any:
        with _translated(f"use the signing key {self.private_key}"):
            from model_signing import signing

            for path in filter(None, (self.private_key, self.certificate)):
                read(path.resolve(), _MAX_PEM_BYTES)  # Kubernetes mounts a Secret's files as links
            if self.certificate is None:
                return signing.Config().use_elliptic_key_signer(private_key=self.private_key)
            return signing.Config().use_certificate_signer(
                private_key=self.private_key, signing_certificate=self.certificate, certificate_chain=[self.certificate]
            )


class TrustedKeys:
    """Public keys and certificates, of which one must have signed a version."""

    def __init__(self, path: Path) -> None:
        """path: a PEM file with a public key or certificates, or a folder of such. Raises StoreError where it holds none."""
        with _translated(f"read the trusted keys {path}"):
            from model_signing import verifying

            self._verifying = verifying
            files = sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith(".")) if path.is_dir() else [path]
            texts = {file: read(file.resolve(), _MAX_PEM_BYTES) for file in files}
        self._certificates = [file for file, text in texts.items() if b"-----BEGIN CERTIFICATE-----" in text]
        self._keys = {_key_id(file, text): file for file, text in texts.items() if file not in self._certificates}
        if not texts:
            raise StoreError(f"cannot read the trusted keys {path}: the folder holds none")

    def check(self, folder: Path, version: int) -> str:
        """The name of the key or certificate that signed the version in the folder.

        Raises StoreError for a version that is unsigned, signed by another, or changed since.
        """
        refused = f"version {version} is refused: "
        key = claimed_signer(folder, version)
        if key is None:
            raise StoreError(f"{refused}it is not signed")
        candidates = self._certificates if key == _BY_CERTIFICATE else [self._keys[key]] if key in self._keys else []
        for file in candidates:
            if self._has_signed(file, folder, refused):
                return file.name
        trusted = ", ".join(file.name for file in (*self._keys.values(), *self._certificates))
        if key in self._keys:
            raise StoreError(f"{refused}its signature names {key}, which did not make it")
        raise StoreError(f"{refused}it is signed by {key}, which is not trusted; trusted are {trusted}")

    def _has_signed(self, file: Path, folder: Path, refused: str) -> bool:
        """Whether the key or certificate in the file made the signature in the folder. Raises StoreError where files were changed since."""
        config = self._verifying.Config().set_hashing_config(_hashing())
        if file in self._certificates:
            config.use_certificate_verifier(certificate_chain=[file])
        else:
            config.use_elliptic_key_verifier(public_key=file)
        try:
            with redirect_stdout(io.StringIO()):  # the library prints warnings there
                config.verify(folder, folder / SIGNATURE)
        except Exception as exc:  # cryptography, OpenSSL, pydantic and the library itself each have their own
            if "Signature mismatch" in str(exc):
                text = str(exc).replace("\\'", "'")  # a list of sentences as Python writes it
                changed = re.findall(r"mismatch for '(.+?)': Expected|(?:Extra|Missing) files [^:]*: ([^\"']+)", text)
                names = ", ".join(name for pair in changed for name in pair if name)
                raise StoreError(f"{refused}it was changed after {file.name} signed it: {names:.300}") from exc
            return False
        return True


def claimed_signer(folder: Path, version: int) -> str | None:
    """Who signed the version, as the signature says it, unchecked: `key 1a2b…` or `a certificate`; None for an unsigned one.

    Raises StoreError for a signature that is none.
    """
    try:
        material = json.loads(read(folder / SIGNATURE, _MAX_SIGNATURE_BYTES))["verificationMaterial"]
        if material.get("x509CertificateChain"):
            return _BY_CERTIFICATE
        return f"key {str(material['publicKey']['hint'])[:_KEY_CHARACTERS]}"
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as exc:
        raise StoreError(f"version {version} is refused: its {SIGNATURE} is no signature of Model Signing") from exc


def make_key(folder: Path) -> tuple[Path, Path]:
    """Make key.pem, a private key that its owner alone may read, and key.pub, its public key. Raises StoreError where one is there."""
    private, public = folder / "key.pem", folder / "key.pub"
    with _translated(f"make a key in {folder}"):
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        folder.mkdir(parents=True, exist_ok=True)
        private.touch(mode=0o600, exist_ok=False)
        private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        with public.open("xb") as file:
            file.write(key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


def _key_id(file: Path, text: bytes) -> str:
    """How a signature names the public key in the file. Raises StoreError where there is none."""
    with _translated(f"use the trusted key {file}"):
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = serialization.load_pem_public_key(text)
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise ValueError("an elliptic curve key was wanted")
        pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return f"key {sha256(pem).hexdigest()[:_KEY_CHARACTERS]}"


def _hashing() -> Any:
    """Every file counts but the signature; the library's own settings leave out what git might have put there."""
    from model_signing import hashing

    return hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


@contextmanager
def _translated(action: str) -> Iterator[None]:
    """Raise what the libraries raise as a StoreError: `cannot <action>: <reason>`."""
    try:
        yield
    except StoreError:
        raise
    except ImportError as exc:
        raise StoreError(
            f"cannot {action}: {str(exc.name).partition('.')[0]} is not installed here; requirements/store.txt has it"
        ) from exc
    except OSError as exc:
        raise StoreError(f"cannot {action}: {exc.strerror or exc}" + (f" ({exc.filename})" if exc.filename else "")) from exc
    except Exception as exc:  # cryptography, OpenSSL and the library itself each have their own
        raise StoreError(f"cannot {action}: {quoted(str(exc))}") from exc
