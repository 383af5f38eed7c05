"""Where in the log each recent inference lies; follows the log, whoever writes it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, NamedTuple

import msgspec

from dutchdoor.errors import Invalid
from dutchdoor.evidence.model import EntryKind
from dutchdoor.gateway.ports import Evidence

__all__ = ["INFERENCES_MAX", "InferenceIndex", "Place"]

INFERENCES_MAX = 50_000
"""Inferences whose places are remembered; older ones are found by reading the log."""


class Place(NamedTuple):
    """begun, end: entry indices, -1 where there is none. end_kind: the entry that ended it."""

    person: str
    gateway: str
    begun: int
    end: int
    end_kind: str


_ENDS = {EntryKind.INFERENCE_DONE, EntryKind.INFERENCE_LOST, EntryKind.INFERENCE_REFUSED}
# Canonical entries end with `"kind":"...","time_ms":...,"v":1}`, in less than so many bytes.
_TAIL_BYTES = 80
_FOLLOWED = (b'"kind":"inference_', b'"kind":"policy_loaded"')


class _Body(msgspec.Struct):
    inference: Any = None
    person: Any = ""
    gateway: Any = ""
    policies: Any = ""


class _Entry(msgspec.Struct):
    kind: str
    body: _Body


_decoder = msgspec.json.Decoder(_Entry)


class InferenceIndex:
    """A view of the log by inference."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._read = 0
        self._lock = threading.Lock()
        self._places: OrderedDict[str, Place] = OrderedDict()
        self.open: dict[str, str] = {}
        """Inferences begun and not ended, with the gateway that began them; never forgotten."""
        self.policies = ""
        """The version of the access rules that the log names last."""

    @property
    def size(self) -> int:
        """How many entries have been read."""
        return self._read

    def follow(self) -> None:
        """Read what was added to the log since the last time; blocking.

        Raises Invalid, Unavailable: the log cannot be read.
        """
        with self._lock:
            view = self._evidence.view()
            if view.size <= self._read:
                return
            for index, data in view.entries(self._read):
                # The log's writer let nothing in but whole entries in canonical form: to read a
                # few fields of some of them, they are not parsed again in full.
                tail = data[-_TAIL_BYTES:]
                if any(kind in tail for kind in _FOLLOWED):
                    self._take(index, _decoded(data))
                self._read = index + 1

    def place(self, inference: str) -> Place | None:
        """Where `inference` lies; None where it is unknown or too old to be remembered."""
        return self._places.get(inference)

    def ended(self, inference: str) -> bool:
        """Whether an end of `inference` is in the log, as far as it has been read."""
        place = self._places.get(inference)
        return place is not None and place.end >= 0

    def _take(self, index: int, entry: _Entry) -> None:
        body = entry.body
        if entry.kind == EntryKind.POLICY_LOADED:
            self.policies = str(body.policies)
        inference = body.inference
        if not isinstance(inference, str):
            return
        if entry.kind == EntryKind.INFERENCE_BEGUN:
            person, gateway = str(body.person), str(body.gateway)
            self._places[inference] = Place(person, gateway, index, -1, "")
            self.open[inference] = gateway
        elif entry.kind in _ENDS:
            known = self._places.get(inference)
            person = str(body.person) or (known.person if known else "")
            begun = known.begun if known else -1
            gateway = known.gateway if known else ""
            self._places[inference] = Place(person, gateway, begun, index, entry.kind)
            self.open.pop(inference, None)
        while len(self._places) > INFERENCES_MAX:
            self._places.popitem(last=False)


def _decoded(data: bytes) -> _Entry:
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise Invalid("not an entry: fields missing or unknown", code="bad_entry") from error
