"""Trees and proofs against a naive tree, our vectors, and the outside ones where present."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dutchdoor.errors import Invalid
from dutchdoor.evidence import merkle
from dutchdoor.evidence.merkle import Frontier, fold, leaf_hash, node_hash
from dutchdoor.evidence.verify.hashes import GrowingRoot, root_by_proof, row_root

VECTORS = Path(__file__).parent / "vectors"
# transparency-dev/merkle, testdata, one JSON line a case; its tests do not come with this project.
OUTSIDE = Path(__file__).parents[3] / "shared" / "vectors" / "merkle"
LEAVES = [leaf_hash(b"entry %d" % number) for number in range(700)]


def naive(leaves: list[bytes]) -> bytes:
    """MTH as RFC 6962, section 2.1 writes it."""
    if not leaves:
        return merkle.EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    return node_hash(naive(leaves[:half]), naive(leaves[half:]))


def hash_of(height: int, index: int) -> bytes:
    return fold(LEAVES[index << height : (index + 1) << height])


def outside(name: str) -> list[Any]:
    path = OUTSIDE / name
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def raw(text: str) -> bytes:
    return base64.b64decode(text)


def check_inclusion(case: dict[str, Any], index: int, size: int) -> None:
    proof = [raw(text) for text in case["proof"] or []]
    leaf, root = raw(case["leafHash"]), raw(case["root"])
    second = len(root) == 32 == len(leaf) and all(len(node) == 32 for node in proof)
    if case["wantErr"]:
        with pytest.raises(Invalid):
            merkle.verify_inclusion(leaf, index, size, proof, root)
        assert not second or size == 0 or root_by_proof(leaf, index, size, proof) != root
    else:
        merkle.verify_inclusion(leaf, index, size, proof, root)
        assert root_by_proof(leaf, index, size, proof) == root


def check_consistency(case: dict[str, Any], size1: int, size2: int) -> None:
    proof = [raw(text) for text in case["proof"] or []]
    roots = raw(case["root1"]), raw(case["root2"])
    if case["wantErr"]:
        with pytest.raises(Invalid):
            merkle.verify_consistency(size1, roots[0], size2, roots[1], proof)
    else:
        merkle.verify_consistency(size1, roots[0], size2, roots[1], proof)


@pytest.mark.skipif(not OUTSIDE.exists(), reason="the outside vectors are not here")
@pytest.mark.parametrize("name", ["inclusion", "consistency"])
def test_all_98_outside_vectors_of_each_kind_hold(name: str) -> None:
    cases = outside(name + ".jsonl")
    assert len(cases) == 98
    for case in cases:
        if name == "inclusion":
            check_inclusion(case, case["leafIdx"], case["treeSize"])
        else:
            check_consistency(case, case["size1"], case["size2"])


@pytest.mark.skipif(not OUTSIDE.exists(), reason="the outside vectors are not here")
def test_outside_subtree_vectors_hold_where_the_subtree_is_a_tree() -> None:
    # A subtree that begins at leaf 0 is a tree; others we neither sign nor prove. The empty one
    # is consistent with everything there, while for trees size 0 is refused.
    counts = [0, 0]
    for case in outside("subtreeinclusion.jsonl"):
        if case["start"] == 0:
            check_inclusion(case, case["leafIdx"], case["end"])
            counts[0] += 1
    for case in outside("subtreeconsistency.jsonl"):
        if case["start"] == 0 and case["end"] > 0:
            check_consistency(case, case["end"], case["size"])
            counts[1] += 1
    assert min(counts) > 50


@pytest.mark.parametrize("case", json.loads((VECTORS / "merkle.json").read_text()), ids=str)
def test_our_vectors_hold(case: dict[str, Any]) -> None:
    leaves = [leaf_hash(b"entry %d" % number) for number in range(case["size"])]
    assert naive(leaves).hex() == case["root"]
    proof = [bytes.fromhex(node) for node in case["inclusion"]]
    root = bytes.fromhex(case["root"])
    merkle.verify_inclusion(leaves[case["index"]], case["index"], case["size"], proof, root)
    assert merkle.inclusion_proof(case["index"], case["size"], hash_of) == proof
    consistency = [bytes.fromhex(node) for node in case["consistency"]]
    assert merkle.consistency_proof(case["old_size"], case["size"], hash_of) == consistency


def test_every_small_tree_has_the_naive_root_by_three_ways() -> None:
    frontier, growing = Frontier(), GrowingRoot()
    for size in range(300):
        expected = naive(LEAVES[:size])
        assert frontier.root() == expected
        assert growing.root() == expected
        assert merkle.root(size, hash_of) == expected
        if size:
            assert row_root(LEAVES[:size]) == expected
        frontier.push(LEAVES[size])
        growing.add(LEAVES[size])


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_proofs_hold_and_a_changed_one_does_not(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(LEAVES)))
    index = data.draw(st.integers(0, size - 1))
    root = naive(LEAVES[:size])
    proof = merkle.inclusion_proof(index, size, hash_of)
    merkle.verify_inclusion(LEAVES[index], index, size, proof, root)
    assert root_by_proof(LEAVES[index], index, size, proof) == root
    old = data.draw(st.integers(1, size))
    consistency = merkle.consistency_proof(old, size, hash_of)
    merkle.verify_consistency(old, naive(LEAVES[:old]), size, root, consistency)

    other = data.draw(st.integers(0, len(LEAVES) - 1).filter(lambda n: n != index))
    with pytest.raises(Invalid):
        merkle.verify_inclusion(LEAVES[other], index, size, proof, root)
    with pytest.raises(Invalid):
        merkle.verify_inclusion(LEAVES[index], other, size, proof, root)
    for wrong in ([*proof, root], proof[1:] if proof else [root]):
        with pytest.raises(Invalid):
            merkle.verify_inclusion(LEAVES[index], index, size, wrong, root)
    with pytest.raises(Invalid):
        merkle.verify_consistency(old, leaf_hash(b"no entry"), size, root, consistency)
    with pytest.raises(Invalid):
        merkle.verify_consistency(
            old, naive(LEAVES[:old]), size, leaf_hash(b"no entry"), consistency
        )


def test_no_proof_is_made_beyond_the_tree() -> None:
    for index, size in ((0, 0), (5, 5), (-1, 5)):
        with pytest.raises(Invalid):
            merkle.inclusion_proof(index, size, hash_of)
    for old, new in ((0, 5), (6, 5), (-1, 5)):
        with pytest.raises(Invalid):
            merkle.consistency_proof(old, new, hash_of)
