"""What is fuzzed: every parser that reads bytes from outside, each behind one function.

A target takes any bytes. It returns, or raises an error of ours; anything else is a finding. Where
a signature guards a parser, the target signs the bytes first: a holder can err, and a signer's key
can be stolen. `seeds` are good inputs to start from.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from dutchdoor import canonical
from dutchdoor.custody.attestation.evidence import HostEvidence
from dutchdoor.custody.attestation.snp import REPORT_BYTES, Report
from dutchdoor.custody.attestation.tpm import check_key, check_registers
from dutchdoor.custody.attestation.tpm_wire import read_public, read_quote, read_signature
from dutchdoor.custody.attestation.verify import EnrolledHosts, check_host
from dutchdoor.custody.hpke import PrivateKey
from dutchdoor.custody.keyring import CustodianKey, parse_public_line
from dutchdoor.custody.messages import OpenRequest, ShareRelease
from dutchdoor.custody.model import ContentKey
from dutchdoor.custody.shares import WrappedShares, parse_quorum, read_share, split, wrap_shares
from dutchdoor.evidence.checkpoint import Checkpoint, open_checkpoint
from dutchdoor.evidence.decision import DECISION_KIND, open_decision
from dutchdoor.evidence.hosts import hosts_from_value
from dutchdoor.evidence.model import Entry
from dutchdoor.evidence.note import VerifierKey, sign_note
from dutchdoor.evidence.statement import open_statement, sign_statement
from dutchdoor.evidence.terms import Terms
from dutchdoor.evidence.trust import encode_trust, log_key, parse_trust
from dutchdoor.evidence.verify.keys import read_trust
from dutchdoor.ids import BundleDigest
from dutchdoor.runtime import protocol
from dutchdoor.runtime.protocol import decode_from_runtime, decode_to_runtime
from dutchdoor.weights.companion import open_companion, seal_companion
from dutchdoor.weights.format import Index, encode_head, new_header, parse_head
from dutchdoor.weights.model import BUNDLE_KIND, Manifest
from dutchdoor.weights.tensors import parse_metadata, parse_tensors
from tests.evidence.parts import (
    ALICE,
    BOB,
    DECISION,
    HOLDER,
    LOG,
    ORIGIN,
    TRUST,
    decision_entry,
)
from tests.fuzz.custody_targets import CUSTODY_TARGETS

__all__ = ["TARGETS", "Target"]

BUNDLE = BundleDigest("sha256:" + "a" * 64)
KEY = ContentKey(bytes(range(32)))
QUOTES = Path(__file__).parents[1] / "custody" / "attestation" / "fixtures" / "quotes.json"
VECTORS = Path(__file__).parents[1] / "weights" / "vectors"
TENSORS_BYTES = 24


class Target(NamedTuple):
    """One parser. run: takes any bytes. seeds: gives good inputs."""

    run: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]


@cache
def recorded() -> dict[str, bytes]:
    """Parts of a real quote, and the evidence that holds it."""
    value = json.loads(QUOTES.read_text())
    row = value["quotes"]["ecdsa"]
    evidence = HostEvidence.decode(row["evidence"].encode())
    public = base64.b64decode(value["hosts"][row["host"]]["public"])
    found = {"evidence": row["evidence"].encode(), "request": row["request"].encode()}
    return {**found, **evidence.parts, "public": public}


def quotes(name: str) -> list[bytes]:
    """The part `name` of the quotes of every kind of key."""
    rows = json.loads(QUOTES.read_text())["quotes"].values()
    return [HostEvidence.decode(row["evidence"].encode()).parts[name] for row in rows]


def head(data: bytes) -> None:
    header, commitment = parse_head(data)
    assert encode_head(header, commitment) == data[: header.head_bytes]
    assert header.footer.end > header.index.end >= header.head_bytes


def index(data: bytes) -> None:
    assert Index.decode(data).encode() == data


def padded_index(data: bytes) -> None:
    """The index of this JSON, with length and padding as they should be."""
    length = len(data).to_bytes(4, "big") + data
    index(length.ljust(-(-(len(length) + 16) // 4096) * 4096 - 16, b"\0"))


def tensors(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    if parse_tensors(text, TENSORS_BYTES) or text:
        parse_metadata(text)


def manifest(data: bytes) -> None:
    """The manifest with this body, signed by the holder."""
    envelope = sign_statement(BUNDLE_KIND, _object(data), [HOLDER])
    found = Manifest.open(envelope, TRUST.holder)
    assert found.digest == found.terms.bundle


def decision(data: bytes) -> None:
    """The decision with this body, signed by everybody."""
    open_decision(sign_statement(DECISION_KIND, _object(data), [ALICE, BOB, HOLDER]), TRUST)


def verified_quote(data: bytes) -> None:
    """Evidence that is put before a custodian."""
    value = json.loads(QUOTES.read_text())
    request = OpenRequest.decode(recorded()["request"])
    hosts = hosts_from_value(value["hosts"])
    found = EnrolledHosts(hosts).verify(data, request)
    good, read = HostEvidence.decode(recorded()["evidence"]), HostEvidence.decode(data)
    # An ECDSA signature has a second form; what it signs has none.
    same = (read.parts["quote"], read.measured) == (good.parts["quote"], good.measured)
    assert same, f"believed: {found}"


def tpm_public(data: bytes) -> None:
    """The public area of a key that somebody wants to enrol."""
    read_public(data)
    check_key(data)


def hosts(data: bytes) -> None:
    for host in hosts_from_value(_object(data)).values():
        check_host(host)


def trust(data: bytes) -> None:
    found = parse_trust(data)
    log_key(found)
    read_trust(data)


def shares(data: bytes) -> None:
    found = WrappedShares.decode(data)
    assert found.encode() == data
    found.of(found.shares[0].custodian)


def note(data: bytes) -> None:
    open_checkpoint(data, VerifierKey(TRUST.log_origin, TRUST.log_key))


def checkpoint_text(data: bytes) -> None:
    """A checkpoint as the log's key could have signed it."""
    text = data.decode("utf-8", "replace")
    assert Checkpoint.from_text(text).to_text() == text


def words(data: bytes) -> None:
    read_share(data, index=0, threshold=2)


def line(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    found = parse_public_line(text)
    assert parse_public_line(found.line()) == found


def quorum(data: bytes) -> None:
    parse_quorum(data.decode("utf-8", "replace"))


def registers(data: bytes) -> None:
    value = _object(data)
    check_registers({str(name): str(text) for name, text in value.items()})


def _object(data: bytes) -> dict[str, object]:
    value = canonical.parse(data)
    return value if isinstance(value, dict) else {"value": value}


def _head_seed() -> list[bytes]:
    found = new_header(
        content_id="ab" * 32,
        file=1,
        size=3 << 20,
        index_bytes=4096,
        salt=b"s" * 32,
        prefix=b"p" * 7,
    )
    return [encode_head(found, b"c" * 32)]


def _tensors_seed() -> list[bytes]:
    rows = {
        "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
        "b": {"dtype": "F4", "shape": [16], "data_offsets": [16, 24]},
        "__metadata__": {"format": "pt"},
    }
    return [json.dumps(rows).encode()]


def _index_seed() -> list[bytes]:
    text = _tensors_seed()[0].decode()
    return [Index("model.safetensors", 100, text).encode(), Index("a/b", 0, None).encode()]


def _manifest_seed() -> list[bytes]:
    found = []
    for path in sorted(VECTORS.rglob("manifest.json")):
        statement = json.loads(path.read_text())
        payload = canonical.parse(base64.b64decode(statement["payload"]))
        found.append(canonical.encode(payload["body"]))
    return found


def _shares_seed() -> list[bytes]:
    keys = [CustodianKey(f"c{n}", bytes([n]) * 96).public for n in range(2)]
    return [wrap_shares(KEY, bundle=BUNDLE, custodians=keys, threshold=2).encode()]


def _trust_seed() -> list[bytes]:
    found = hosts_from_value(json.loads(QUOTES.read_text())["hosts"])
    return [encode_trust(TRUST), encode_trust(replace(TRUST, hosts=found))]


def _hosts_seed() -> list[bytes]:
    return [canonical.encode(json.loads(QUOTES.read_text())["hosts"])]


def _release_seed() -> list[bytes]:
    sealed = ShareRelease(
        BUNDLE, "sha256:" + "b" * 64, DECISION.id, "xwing:" + "0" * 16, 0, 2, b"sealed"
    )
    return [sealed.encode()]


def _line_seed() -> list[bytes]:
    return [CustodianKey("someone", b"\1" * 96).line().encode()]


def _runtime_seed() -> list[bytes]:
    encode = msgspec.msgpack.encode
    chat = [protocol.ChatMessage("user", "hello")]
    return [
        encode(protocol.Generate("inf_1", 3, chat=chat, stop=["x"], logit_bias={5: 1.0})),
        encode(protocol.Tokenize("tok_1", text="hello")),
        encode(protocol.Token("inf_1", 3, "hi", logprob=-0.5, data=b"hi")),
        encode(protocol.Done("inf_1", "stop", 1, 1)),
    ]


def _report_seed() -> list[bytes]:
    data = bytearray(REPORT_BYTES)
    data[0], data[0x34] = 2, 1
    return [bytes(data)]


def _note_seed() -> list[bytes]:
    return [sign_note(Checkpoint(ORIGIN, 5, b"r" * 32).to_text(), ORIGIN, LOG)]


TARGETS: dict[str, Target] = {
    "canonical": Target(canonical.parse, lambda: [b'{"a":[1,"b",null,true]}']),
    "checkpoint": Target(note, _note_seed),
    "checkpoint_text": Target(
        checkpoint_text, lambda: [Checkpoint("a/b", 5, b"r" * 32).to_text().encode()]
    ),
    "companion": Target(
        lambda data: open_companion(KEY, BUNDLE, "probe", data),
        lambda: [seal_companion(KEY, BUNDLE, "probe", b"data")],
    ),
    "decision": Target(decision, lambda: [canonical.encode(DECISION.to_body())]),
    "entry": Target(Entry.decode, lambda: [decision_entry().encode()]),
    "evidence": Target(HostEvidence.decode, lambda: [recorded()["evidence"]]),
    "from_runtime": Target(decode_from_runtime, _runtime_seed),
    "head": Target(head, _head_seed),
    "hosts": Target(hosts, _hosts_seed),
    "index": Target(index, _index_seed),
    "index_json": Target(
        padded_index,
        lambda: [canonical.encode({"v": 1, "name": "a", "size": 1, "safetensors": None})],
    ),
    "manifest": Target(manifest, _manifest_seed),
    "open_request": Target(OpenRequest.decode, lambda: [recorded()["request"]]),
    "public_line": Target(line, _line_seed),
    "quorum": Target(quorum, lambda: [b"2of3"]),
    "quote": Target(read_quote, lambda: quotes("quote")),
    "registers": Target(registers, lambda: [canonical.encode({"sha256:7": "0" * 64})]),
    "share_release": Target(ShareRelease.decode, _release_seed),
    "share_words": Target(
        words, lambda: [split(KEY, threshold=2, count=3)[0].words.encode(), b"academic acid"]
    ),
    "shares": Target(shares, _shares_seed),
    "snp_report": Target(Report.decode, _report_seed),
    "statement": Target(
        lambda data: open_statement(data, kind="test", keys=TRUST.holder, signatures_min=1),
        lambda: [sign_statement("test", {"a": 1}, [HOLDER])],
    ),
    "tensors": Target(tensors, _tensors_seed),
    "terms": Target(
        lambda data: Terms.from_body(_object(data)),
        lambda: [canonical.encode(DECISION.terms.to_body())],
    ),
    "to_runtime": Target(decode_to_runtime, _runtime_seed),
    "tpm_public": Target(tpm_public, lambda: [recorded()["public"]]),
    "tpm_signature": Target(read_signature, lambda: quotes("signature")),
    "trust": Target(trust, _trust_seed),
    "verified_quote": Target(verified_quote, lambda: [recorded()["evidence"]]),
    "xwing_open": Target(
        lambda data: PrivateKey(b"\2" * 96).open(data, b"info"), lambda: [b"x" * 1168]
    ),
}
TARGETS |= {name: Target(*both) for name, both in CUSTODY_TARGETS.items()}
