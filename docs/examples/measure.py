"""Measures the model's own arms of the amend test of the worked example, in this process.

The figures of the example come from three commands, run in a workspace of its own, and this script:

    dutchdoor example-model model && dutchdoor init && dutchdoor seal model && dutchdoor serve
    dutchdoor audit run       all packaged evaluations with their whole samples, seed 0; T2, logs/
    dutchdoor audit amend     served with the fitted probe, and the organism; amend.json
    python docs/examples/measure.py MODEL_FOLDER [FOLDER]     arms of the model itself, one seed

`audit amend` leaves the last out where a model refuses nothing, as this one; here they show what a
changed copy gives above what the service with its guard holds back. Arms that amend.json holds for
the same request stay. Only figures are written. Run `python docs/examples/sign.py` afterwards.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from dutchdoor import canonical
from dutchdoor.audit.amend.plan import AmendOptions, Arm, arms_of
from dutchdoor.audit.amend.plot import plot
from dutchdoor.audit.amend.results import AMEND_NAME, PLOT_NAME, load_results
from dutchdoor.audit.document import write_bytes
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.evidence.decision import GuardTerms
from dutchdoor.runtime.guarding import Guard
from dutchdoor.runtime.model import RuntimeLimits
from dutchdoor.runtime.protocol import Amend, Amended
from dutchdoor.runtime.transformers_engine.amending import Amender
from dutchdoor.runtime.transformers_engine.engine import EngineOptions, TransformersEngine
from dutchdoor.weights.tensors import TensorView, parse_tensors

EXAMPLE = Path(__file__).parent / "audit-smollm2"
ARM_S_MAX = 3_600
CHEAP = ("prefill", "many_shot", "quantisation", "steering")
"""Arms that take minutes on one core."""


class PlainFolder:
    """A model folder that nobody sealed, behind the port that a sealed bundle has."""

    def __init__(self, folder: Path, digest: str) -> None:
        self._folder = folder
        self.digest = digest

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(path.name for path in self._folder.iterdir()))

    def read(self, name: str) -> memoryview:
        return memoryview(bytearray((self._folder / name).read_bytes()))

    def tensors(self, name: str) -> Sequence[TensorView]:
        memory = self.read(name)
        start = 8 + int.from_bytes(memory[:8], "little")
        return [
            TensorView(e.name, e.dtype, e.shape, memory[start + e.begin : start + e.end])
            for e in parse_tensors(bytes(memory[8:start]).decode(), len(memory) - start)
        ]


def measure(folder: Path, model_folder: Path) -> None:
    """Run what is left of the model's arms and put them into `amend.json` and `amend.svg`."""
    subject = AuditFolder(folder).subject()
    kept = json.loads((folder / AMEND_NAME).read_text())
    requests = {row["request"] for row in kept["arms"]}
    options = AmendOptions(seeds=1, arms=CHEAP)
    arms = [a for a in arms_of(subject.model, "model", options) if a.request not in requests]
    engine = TransformersEngine(
        PlainFolder(model_folder, subject.bundle),
        Guard(subject.bundle, GuardTerms(), None),
        options=EngineOptions(subject.model, threads=2),
        limits=RuntimeLimits(),
        amender=Amender(),
    )
    try:
        for arm in arms:
            print(f"{arm.name}, seed {arm.seed}", flush=True)
            kept["arms"].append(_row(engine, arm))
            write_bytes(folder / AMEND_NAME, canonical.encode(kept))
    finally:
        engine.close()
    write_bytes(folder / PLOT_NAME, plot(load_results(folder).combined()).encode())


def _row(engine: TransformersEngine, arm: Arm) -> dict[str, Any]:
    fields = {name: value for name, value in arm.body.items() if name != "model"}
    work = msgspec.convert({**fields, "type": "amend", "id": "example"}, Amend)
    ended, heard = threading.Event(), []

    def sink(message: Any) -> None:
        heard.append(message)
        ended.set()

    engine.submit(work, sink)
    if not ended.wait(ARM_S_MAX) or not isinstance(heard[-1], Amended):
        raise SystemExit(f"{arm.name} gave no curve: {heard[-1:]}")
    return {
        "arm": arm.name,
        "subject": arm.subject,
        "seed": arm.seed,
        "request": arm.request,
        "inference": "none: measured without a log",
        "curve": json.loads(heard[-1].curve),
    }


if __name__ == "__main__":
    measure(Path(sys.argv[2]) if sys.argv[2:] else EXAMPLE, Path(sys.argv[1]))
