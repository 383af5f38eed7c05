"""Watches the access rules: each version that comes into force is recorded, what is wrong is told.

A folder of rules that is not right leaves the older rules in force. That is safe and easily
overlooked: whoever forbade something in the broken file believes that it is forbidden by now.
"""

from __future__ import annotations

import logging

from dutchdoor.errors import Unavailable
from dutchdoor.evidence.model import EntryKind
from dutchdoor.gateway.admission import Admission
from dutchdoor.gateway.index import InferenceIndex
from dutchdoor.gateway.recorder import Recorder

__all__ = ["PolicyWatch"]


class PolicyWatch:
    """Which rules this gateway obeys. trouble: why they are not those of the folder, or None."""

    def __init__(self, admission: Admission, index: InferenceIndex, recorder: Recorder) -> None:
        self._admission = admission
        self._index = index
        self._recorder = recorder
        self._obeyed = ""
        self._problem = ""
        self.trouble: Unavailable | None = None

    async def follow(self) -> None:
        """Look at the folder, and record the version in force where it is another than before.

        Raises Unavailable: the change cannot be recorded; then everything that runs is cut.
        """
        standing = await self._admission.in_thread(self._admission.access.follow_policies)
        if standing.problem != self._problem:
            self._problem = standing.problem
            self._tell()
        if standing.version == self._obeyed:
            return
        # Whoever wrote the files may have recorded them, or another gateway on the same log.
        if standing.version != self._index.policies:
            body = {"policies": standing.version}
            await self._recorder.record(EntryKind.POLICY_LOADED, body)
        self._obeyed = standing.version

    def _tell(self) -> None:
        if not self._problem:
            self.trouble = None
            return
        # The details quote the operator's files: they are for the process's own log alone.
        logging.getLogger("dutchdoor.gateway").warning("policies: %s", self._problem)
        self.trouble = Unavailable(
            "the files in policies/ are not right, so they are not (all) in force",
            code="policies_stale",
            hint="the gateway's own log says what is wrong; mend the file, no restart is needed",
        )
