"""The stand-alone verifier: a second implementation that shares no code with the log.

It imports the standard library, `cryptography`, `dutchdoor.canonical` and `dutchdoor.errors`, so
that an outsider reads these files and nothing else. `verifier.verify` is where to start.

    python -m dutchdoor.evidence.verify EVIDENCE_FOLDER --trust trust.json [--receipt FILE ...]
"""

__all__: list[str] = []
