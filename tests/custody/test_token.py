"""A custodian's key in a PKCS#11 token: it never comes out, and the PIN alone is not enough.

With SoftHSM2, a real token in software: `apt-get install softhsm2` and `dutchdoor[pkcs11]`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dutchdoor.custody.hpke import open_with_exchange, seal_to
from dutchdoor.custody.model import Kem
from dutchdoor.errors import DutchdoorError, Invalid
from tests.custody.parts import BUNDLE

PIN, OTHER_PIN = "728194", "000000"
MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so")
MODULE = next((path for path in MODULES if Path(path).exists()), "")
needs_token = pytest.mark.skipif(
    not (MODULE and shutil.which("softhsm2-util") and importlib.util.find_spec("pkcs11")),
    reason="no SoftHSM2 here: apt-get install softhsm2, pip install 'dutchdoor[pkcs11]'",
)


def test_hpke_with_a_foreign_exchange_is_the_librarys_own() -> None:
    """Without any token: the same bytes as the library's HPKE, opened by our half of it."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    private = ec.generate_private_key(ec.SECP256R1())
    point = (Encoding.X962, PublicFormat.UncompressedPoint)
    public = private.public_key().public_bytes(*point)

    def exchange(data: bytes) -> bytes:
        other = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), data)
        return private.exchange(ec.ECDH(), other)

    sealed = seal_to(public, b"a share", b"info", Kem.P256)
    assert open_with_exchange(sealed, b"info", public, exchange) == b"a share"
    assert open_with_exchange(sealed, b"other", public, exchange) is None
    for place in (0, 1, 40, 66, len(sealed) - 1):
        changed = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        assert open_with_exchange(changed, b"info", public, exchange) is None
    for data in (b"", sealed[:64], sealed[:65], sealed[:80]):
        assert open_with_exchange(data, b"info", public, exchange) is None
    with pytest.raises(Invalid):
        seal_to(b"\x04" + bytes(64), b"", b"", Kem.P256)


SCRIPT = """
import sys
from pathlib import Path
from dutchdoor.custody.identity import create_in_token, kept_at, load_identity
from dutchdoor.custody.keyring import CustodianKey, create_folder
from dutchdoor.custody.model import ContentKey
from dutchdoor.custody.shares import combine, key_commitment, unwrap_share, wrap_shares
from dutchdoor.custody.token import TokenPlace
from dutchdoor.errors import DutchdoorError
from dutchdoor.ids import BundleDigest

folder, module, pin, other, bundle = sys.argv[1:]
place = TokenPlace(module, "custodian", "one")
path = create_folder(Path(folder, "keys")) / "one.key"
key = create_in_token(path, "one", place, lambda _: pin.encode())
content = ContentKey.generate()
people = [key.public, CustodianKey("two", bytes(96)).public]
shares = wrap_shares(content, bundle=BundleDigest(bundle), custodians=people, threshold=2)
again = load_identity(path, lambda _: pin.encode())
both = [unwrap_share(shares, again), unwrap_share(shares, CustodianKey("two", bytes(96)))]
assert combine(both, key_commitment(content)) == content
print("opened", kept_at(path).lock, path.read_text().count("secret: \\n"))

import pkcs11
with again._session(writable=False) as session:
    private = again._private(session)
    for name in (pkcs11.Attribute.VALUE,):
        try:
            print("READ", private[name])
        except pkcs11.exceptions.AttributeSensitive:
            print("sensitive")
    print(private[pkcs11.Attribute.EXTRACTABLE], private[pkcs11.Attribute.NEVER_EXTRACTABLE])

def refused(action):
    try:
        action()
    except DutchdoorError as error:
        print(type(error).__name__, error.code)
        assert pin not in repr(error) + error.hint

refused(lambda: unwrap_share(shares, load_identity(path, lambda _: other.encode())))
refused(lambda: create_in_token(path, "one", place, lambda _: pin.encode()))
path.unlink()
refused(lambda: create_in_token(path, "one", place, lambda _: pin.encode()))
elsewhere = TokenPlace(module, "another", "one")
refused(lambda: create_in_token(path, "one", elsewhere, lambda _: pin.encode()))
nothing = TokenPlace(folder + "/no-such-library.so", "custodian", "one")
refused(lambda: create_in_token(path, "one", nothing, lambda _: pin.encode()))
assert not path.exists()
"""


@needs_token
def test_a_key_made_in_a_token_opens_shares_and_never_leaves_it(tmp_path: Path) -> None:
    """In a process of its own: the token's library reads its configuration once."""
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    environment = {**os.environ, "SOFTHSM2_CONF": str(tmp_path / "softhsm2.conf")}
    given = ["softhsm2-util", "--init-token", "--free", "--label", "custodian"]
    given += ["--pin", PIN, "--so-pin", "8" * 8]
    subprocess.run(given, env=environment, check=True, capture_output=True)
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), MODULE, PIN, OTHER_PIN, BUNDLE],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "opened pkcs11 1",
        "sensitive",
        "False True",
        "Refused pin_refused",
        "Refused key_exists",
        "Refused key_exists",
        "NotFound token_not_found",
        "Unavailable token_unavailable",
    ]


def test_without_the_library_it_is_said_which_one_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dutchdoor.custody.token import TokenKey, TokenPlace

    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(DutchdoorError) as caught:
        TokenKey.create("one", TokenPlace("x", "y", "z"), lambda _: PIN.encode())
    assert caught.value.code == "no_pkcs11"
