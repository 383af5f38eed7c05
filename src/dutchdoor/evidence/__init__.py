"""The tamper-evident log: entries, Merkle tree, signed checkpoints, proofs, receipts."""

__all__: list[str] = []
