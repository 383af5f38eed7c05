"""Measures the amend test of the worked example anew, on the real model, in this process.

    python docs/examples/measure.py MODEL_FOLDER [FOLDER]

MODEL_FOLDER is what `dutchdoor example-model` writes. Arms that the example's amend.json holds, for
the same request, are taken from there: remove the file to measure all of them (minutes on two
cores). Nothing but figures is written. Run `python docs/examples/sign.py` afterwards.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from dutchdoor.audit.amend.run import run_amend
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
    """Run what is left of the amend test; `amend.json` and `amend.svg` are in `folder` after it.

    No guard stands before the model here, so what is held back is what it refuses by itself.
    """
    subject = AuditFolder(folder).subject()
    engine = TransformersEngine(
        PlainFolder(model_folder, subject.bundle),
        Guard(subject.bundle, GuardTerms(), None),
        options=EngineOptions(subject.model, threads=2),
        limits=RuntimeLimits(),
        amender=Amender(),
    )

    def ask(body: dict[str, Any]) -> dict[str, Any]:
        fields = {name: value for name, value in body.items() if name != "model"}
        work = msgspec.convert({**fields, "type": "amend", "id": "example"}, Amend)
        ended, heard = threading.Event(), []

        def sink(message: Any) -> None:
            heard.append(message)
            ended.set()

        engine.submit(work, sink)
        if not ended.wait(ARM_S_MAX) or not isinstance(heard[-1], Amended):
            raise SystemExit(f"{work.method} gave no curve: {heard[-1:]}")
        return {"curve": json.loads(heard[-1].curve), "inference": "none: measured without a log"}

    def progress(name: str, done: int, total: int) -> None:
        print(f"{done + 1} of {total}: {name}", flush=True)

    try:
        run_amend(folder, subject.bundle, subject.model, ask, progress=progress)
    finally:
        engine.close()


if __name__ == "__main__":
    measure(Path(sys.argv[2]) if sys.argv[2:] else EXAMPLE, Path(sys.argv[1]))
