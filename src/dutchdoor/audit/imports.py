"""What others measured: logs of Inspect, results of lm-eval, reports of garak, as artifacts.

A foreign file is named by its digest, with its headline figures; neither it nor any prompt or
answer in it is copied, because such files hold whatever a model said. Whoever signs the testing
report vouches that the file is about the audited bundle: nothing in it can prove that.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dutchdoor.audit.fan import ask_worker
from dutchdoor.audit.measure import decimal, wilson
from dutchdoor.errors import Invalid, NotFound, Refused

__all__ = [
    "Imported",
    "imported_of",
    "imports_part",
    "must_name",
    "names_another",
    "read_import",
]

FILE_BYTES_MAX = 1 << 30
RESULTS_BYTES_MAX = 64 << 20
LINE_BYTES_MAX = 16 << 20
FIGURES_MAX = 500
NAME_CHARACTERS_MAX = 200


@dataclass(frozen=True)
class Imported:
    """One foreign file.

    kind: `inspect`, `lm-eval` or `garak`. tool: its name and version, as the file says. model: as
    the file calls it. figures: by name, as text, the headline only.
    """

    file: str
    digest: str
    kind: str
    tool: str
    model: str
    figures: Mapping[str, str] = field(default_factory=dict)

    def to_body(self) -> dict[str, Any]:
        """Canonical values."""
        return {**vars(self), "figures": dict(self.figures)}

    @classmethod
    def from_body(cls, body: Any) -> Imported:
        """Of canonical values or front matter. Raises Invalid: not in form."""
        names = set(cls.__annotations__)
        if not isinstance(body, dict) or set(body) != names:
            raise Invalid("not an imported result: fields missing or unknown", code="bad_import")
        texts = [body[name] for name in names - {"figures"}]
        figures = body["figures"]
        if isinstance(figures, dict):
            texts += [text for row in figures.items() for text in row]
        if not isinstance(figures, dict) or not all(isinstance(text, str) for text in texts):
            raise Invalid("an imported result has values of the wrong kind", code="bad_import")
        return cls(**body)


def read_import(path: Path) -> Imported:
    """The headline of a foreign file (unverified bytes).

    Raises NotFound: no such file. Raises Invalid: none of the kinds, larger than 1 GiB, or not in
    form. Raises Unavailable: an Inspect log cannot be read without the evaluation stack.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(0)
            digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise NotFound(f"there is no file {path}", code="no_import") from error
    if size > FILE_BYTES_MAX:
        raise Invalid(f"{path.name} is larger than {FILE_BYTES_MAX} bytes", code="bad_import")
    if head == b"PK\x03\x04":
        kind, (tool, model, figures) = "inspect", _inspect(path)
    elif path.suffix == ".jsonl":
        kind, (tool, model, figures) = "garak", _garak(path)
    else:
        kind, (tool, model, figures) = "lm-eval", _lm_eval(path, size)
    if not figures:
        message = f"{path.name} has no figures"
        raise Invalid(message, code="bad_import", hint="give the file that has the results")
    if len(figures) > FIGURES_MAX:
        raise Invalid(f"{path.name} has more than {FIGURES_MAX} figures", code="bad_import")
    clean = {_line(name): _line(text) for name, text in figures.items()}
    return Imported(_line(path.name), digest, kind, _line(tool), _line(model), clean)


def names_another(imported: Imported, model: str) -> bool:
    """Whether the file names another model than `model`; one that names none does not.

    Of a name with `/` the last part counts: `openai/tiny` is `tiny`, as our server calls it.
    """
    name = imported.model.casefold()
    return bool(name) and model.casefold() not in {name, name.rstrip("/").rsplit("/", 1)[-1]}


def must_name(imported: Imported, model: str) -> None:
    """Raises Refused where the file names another model than the audited one."""
    if names_another(imported, model):
        message = f"{imported.file} is about the model '{imported.model}'; '{model}' is audited"
        hint = "if it is the same model under another name: --although-other-model"
        raise Refused(message, code="other_model", hint=hint)


_Headline = tuple[str, str, dict[str, str]]


def _inspect(path: Path) -> _Headline:
    if not zipfile.is_zipfile(path):
        raise Invalid(f"{path.name} is no Inspect log", code="bad_import")
    row = ask_worker({"headline": str(path.resolve())})
    if row.get("status") != "success":
        message = f"the log {path.name} did not come to its end ({row.get('status')})"
        raise Invalid(message, code="bad_import")
    figures = {
        f"{row['task']} {name}": _number(value)
        for name, value in dict(row["figures"]).items()
        if isinstance(value, int | float)
    }
    if figures:
        figures[f"{row['task']} n"] = str(int(row["samples"]))
    return str(row["tool"]), str(row["model"]), figures


def _lm_eval(path: Path, size: int) -> _Headline:
    """`results_*.json` of EleutherAI's lm-evaluation-harness."""
    if size > RESULTS_BYTES_MAX:
        raise Invalid(f"{path.name} is too large for results", code="bad_import")
    value = _object(path.read_bytes(), path.name)
    results = value.get("results")
    if not isinstance(results, dict):
        message = f"{path.name} is neither an Inspect log, nor lm-eval results, nor a garak report"
        raise Invalid(message, code="bad_import", hint="see docs/reference/evaluations.md")
    samples = value.get("n-samples") or {}
    figures: dict[str, str] = {}
    for task, row in results.items():
        if not isinstance(row, dict):
            continue
        for name, figure in row.items():
            if isinstance(figure, int | float) and not isinstance(figure, bool):
                figures[f"{task} {name}"] = _number(figure)
        counted = samples.get(task) if isinstance(samples, dict) else None
        if isinstance(counted, dict) and isinstance(counted.get("effective"), int):
            figures[f"{task} n"] = str(counted["effective"])
    config = value.get("config")
    model = str(config.get("model_args", "")) if isinstance(config, dict) else ""
    version = str(value.get("lm_eval_version", "") or value.get("git_hash", "") or "")
    # Arguments of a model may hold a key: only what names the model is taken.
    named = re.search(r"(?:^|[,{'\" ])(?:model|pretrained)['\"]?\s*[=:]\s*['\"]?([^,'\"}]+)", model)
    name = named.group(1) if named else str(value.get("model_name", ""))
    return f"lm-eval {version}".strip(), name, figures


def _garak(path: Path) -> _Headline:
    """`*.report.jsonl` of NVIDIA's garak: its lines of kind `eval`, one a probe and detector."""
    version = model = ""
    figures: dict[str, str] = {}
    for row in _rows(path):
        kind = row.get("entry_type")
        version = str(row.get("garak_version", "")) or version
        for prefix in ("plugins.target_name", "plugins.model_name"):
            model = str(row.get(prefix) or "") or model
        if kind != "eval":
            continue
        name = f"{row.get('probe', '')} {row.get('detector', '')}"
        n, passed = row.get("total_evaluated", row.get("total")), row.get("passed")
        if not isinstance(n, int) or not isinstance(passed, int) or not 0 <= passed <= n:
            raise Invalid(f"{path.name}: figures of {_line(name)} are none", code="bad_import")
        if n:
            low, high = wilson(passed, n)
            span = f"(95 %: {decimal(low)} to {decimal(high)})"
            figures[name] = f"passed {passed} of {n} {span}"
    return f"garak {version}".strip(), model, figures


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        while line := file.readline(LINE_BYTES_MAX):
            if line.strip():
                yield _object(line, path.name)


def _object(data: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{where} is not JSON", code="bad_import") from error
    if not isinstance(value, dict):
        raise Invalid(f"{where} holds no JSON objects", code="bad_import")
    return value


def _number(value: float) -> str:
    return (
        str(value) if isinstance(value, int) else (f"{value:.4f}" if math.isfinite(value) else "")
    )


def _line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[
        :NAME_CHARACTERS_MAX
    ]


def imports_part(rows: Iterable[Imported]) -> str:
    """The imported results as Markdown, "" where there are none."""
    blocks = []
    for row in rows:
        about = f" about `{row.model}`" if row.model else ""
        lines = [f"### {row.file} ({row.tool}){about}", "", f"`{row.digest}`", ""]
        lines += [f"- {name}: {text}" for name, text in row.figures.items()]
        blocks.append("\n".join(lines))
    if not blocks:
        return ""
    head = (
        "## Results of other tools\n\nTheir headline figures alone; the files are named by their "
        "digests and are not kept here. Whoever signs says that they are about this bundle."
    )
    return "\n\n".join([head, *blocks])


def imported_of(front: Mapping[str, Any]) -> tuple[Imported, ...]:
    """The imported results in T2's front matter. Raises Invalid: not in form."""
    rows = front.get("imports") or []
    if not isinstance(rows, list):
        raise Invalid("'imports' is not a list", code="document_unfinished")
    return tuple(Imported.from_body(row) for row in rows)
