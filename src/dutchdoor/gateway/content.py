"""What a grant with content mode `full` lets the holder keep: openings, beside the log."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path

from dutchdoor.errors import Unavailable
from dutchdoor.evidence.model import Opening
from dutchdoor.ids import InferenceId

__all__ = ["ContentStore", "opening_value"]


def opening_value(opening: Opening) -> dict[str, str]:
    """`opening` as JSON values: salt in hexadecimal, content in base64."""
    return {"salt": opening.salt.hex(), "content": base64.b64encode(opening.content).decode()}


class ContentStore:
    """One file an inference, readable by the gateway's own user alone.

    The log never holds content. Deleting a file here takes the content away and leaves the record
    whole: the commitment in it can then no longer be opened by the holder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, inference: InferenceId, openings: Mapping[str, Opening]) -> None:
        """Write the openings durably; blocking.

        Raises Unavailable: they could not be written, so the inference must not end well.
        """
        value = {name: opening_value(opening) for name, opening in openings.items()}
        data = json.dumps({"inference": inference, "openings": value}).encode()
        draft = self._folder / f".{inference}.part"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            descriptor = os.open(draft, flags, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._folder / f"{inference}.json")
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)  # The name is durable only once the folder is.
            finally:
                os.close(folder)
        except OSError as error:
            message = "the content could not be kept"
            hint = "make room on the disk, or change the grant's content mode"
            raise Unavailable(message, code="content_unavailable", hint=hint) from error
