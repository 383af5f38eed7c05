"""The rules: Cedar files, parsed once, checked against the schema, asked with a memory.

The one door to `cedarpy`. A folder holds `schema.cedarschema` and any number of `*.cedar` files;
`PolicyBook` keeps the last set that was right in force and says what is wrong with a newer one.
No rule, no permission: a folder that becomes empty refuses everything; one that is empty at the
start is a mistake.
Source: Cedar policy language reference 4, "Authorization": default deny, forbid overrides permit.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import cedarpy

from dutchdoor import canonical
from dutchdoor.access.model import AccessRequest, Grant, Person
from dutchdoor.errors import Invalid

__all__ = ["ACTIONS", "Policies", "PolicyBook", "Rule", "Ruling", "install_default_policies"]

SCHEMA_NAME: Final = "schema.cedarschema"
ACTIONS: Final = {
    "infer": "Infer",
    "read_activations": "ReadActivations",
    "fit_probe": "FitProbe",
    "amend": "Amend",
    "list_models": "ListModels",
}
DEFAULT_DENY: Final = "no_rule_permits"
BROKEN: Final = "rules_could_not_be_applied"


@dataclass(frozen=True)
class PolicyLimits:
    """What a policy folder may hold, and how many answers are remembered."""

    file_bytes_max: int = 1 << 20
    files_max: int = 100
    rules_max: int = 5_000
    answers_max: int = 65_536


LIMITS: Final = PolicyLimits()


@dataclass(frozen=True)
class Rule:
    """One rule as people read it. effect: `permit` or `forbid`. file: where it stands."""

    id: str
    effect: str
    reason: str
    file: str


@dataclass(frozen=True)
class Ruling:
    """What the rules say of one request. rule: the `@id` that decided; reason: its `@reason`."""

    permits: bool
    rule: str
    reason: str


@dataclass(frozen=True)
class _Question:
    """Everything a rule can look at, and nothing else: the memory is exact because this is all."""

    person: str
    audience: str
    organisation: str
    active: bool
    action: str
    bundle: str
    level: str
    stage: str
    depths: frozenset[str]
    grant_depths: frozenset[str]
    audience_depths: frozenset[str]
    purpose: str
    tools: bool
    agentic: bool


class Policies:
    """One set of rules that is right: parsed, checked against the schema, never changed.

    version: `sha256:` of the files' names and bytes, for the evidence. rules: all of them.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        """The set of `files`, by name: one schema and any number of `.cedar` files.

        Raises Invalid: a file is not text or does not parse, a rule does not fit the schema,
        lacks `@id` or `@reason`, or has the `@id` of another.
        """
        digests = {name: canonical.sha256_hex(data) for name, data in files.items()}
        self.version = canonical.digest(dict(digests))
        texts = {name: _text(name, data) for name, data in files.items()}
        if SCHEMA_NAME not in texts:
            hint = f"restore {SCHEMA_NAME} from a backup, or copy it from a new workspace"
            raise Invalid(f"there is no {SCHEMA_NAME}", code="bad_policy", hint=hint)
        self._schema = _schema(texts.pop(SCHEMA_NAME))
        rules = [rule for name in sorted(texts) for rule in _rules(name, texts[name], self._schema)]
        _check_ids(rules)
        self.rules = tuple(rules)
        # Joined in the order of `rules`, so that Cedar's policy0, policy1 … are their indexes.
        # Each file parsed alone before, so that none can end in the middle of another's rule.
        self._set = cedarpy.PolicySet.from_str("\n".join(texts[name] for name in sorted(texts)))
        self._by_id = {rule.id: rule for rule in rules}
        self._answers: dict[_Question, Ruling] = {}

    def rule_on(self, request: AccessRequest, person: Person, grant: Grant) -> Ruling:
        """What the rules say of `request` by `person` under `grant`."""
        action = ACTIONS.get(request.action)
        if action is None:
            return Ruling(permits=False, rule=DEFAULT_DENY, reason="there is no such action")
        question = _question(request, person, grant, action)
        known = self._answers.get(question)
        if known is not None:
            return known
        ruling = self.ask(*_cedar_arguments(question))
        if ruling.rule != BROKEN:  # What failed may be well the next time.
            if len(self._answers) >= LIMITS.answers_max:
                self._answers.clear()
            self._answers[question] = ruling
        return ruling

    def ask(self, request: dict[str, Any], entities: list[dict[str, Any]]) -> Ruling:
        """What the rules say of a request as Cedar takes it; whatever goes wrong is a no."""
        broken = Ruling(permits=False, rule=BROKEN, reason="the rules could not be applied")
        try:
            result = cedarpy.is_authorized(request, self._set, entities, self._schema)
            diagnostics = result.diagnostics
            # A forbid that fails counts for nothing in Cedar; here any failure refuses.
            if diagnostics.errors or result.decision is cedarpy.Decision.NoDecision:
                return broken
            ids = sorted(diagnostics.id_annotations_by_reason.values())
            permits = result.decision is cedarpy.Decision.Allow
        except Exception:  # The binding may raise anything: refuse.
            return broken
        if not ids:
            sentence = "no rule permits this"
            return broken if permits else Ruling(False, DEFAULT_DENY, sentence)
        rule = self._by_id.get(ids[0])
        return broken if rule is None else Ruling(permits, rule.id, rule.reason)


class PolicyBook:
    """The rules in force: those of a folder, the last set that was right.

    problem: what is wrong with the folder now, "" where nothing is; the gateway reports it.
    """

    def __init__(self, folder: Path) -> None:
        """Raises Invalid: the folder's rules are not right, or there are none."""
        self._folder = folder
        self._lock = threading.Lock()
        self._seen = _marks(folder)
        self.problem = ""
        files = _read(folder)
        if not files.keys() - {SCHEMA_NAME}:
            message = f"there are no rules in {folder}, so that nothing could ever be permitted"
            hint = "restore the *.cedar files from a backup, or copy them from a new workspace"
            raise Invalid(message, code="no_policies", hint=hint)
        self._current = Policies(files)

    @property
    def current(self) -> Policies:
        """The rules in force."""
        return self._current

    def reload(self) -> Policies:
        """Read the folder again and put its rules in force, all at once.

        Raises Invalid: they are not right; the old ones stay in force.
        """
        with self._lock:
            marks = _marks(self._folder)
            try:
                policies = Policies(_read(self._folder))
            except Invalid as error:
                self.problem = error.message
                self._seen = marks
                raise
            if policies.version != self._current.version:
                self._current = policies
            self._seen = marks
            # Whoever takes the rules away takes the permissions away: that is in force at once.
            self.problem = "" if policies.rules else "there are no rules: everything is refused"
            return self._current

    def reload_if_changed(self) -> bool:
        """Reload where a file was changed, added or removed; True where other rules came in force.

        Raises nothing: what is wrong is in `problem`, and the old rules stay in force.
        """
        if _marks(self._folder) == self._seen:
            return False
        before = self._current.version
        try:
            return self.reload().version != before
        except Invalid:
            return False


def install_default_policies(folder: Path) -> tuple[str, ...]:
    """Copy the packaged schema and rules into `folder`; the names of those that were written.

    A file that is there already stays as it is: people edit these.
    """
    packaged = resources.files("dutchdoor.access").joinpath("policies")
    written = []
    for below in ("", "documents"):
        here = folder / below
        here.mkdir(parents=True, exist_ok=True)
        for source in packaged.joinpath(below).iterdir():
            target = here / source.name
            if source.name.endswith((".cedar", ".cedarschema")) and not target.exists():
                target.write_bytes(source.read_bytes())
                written.append(target.relative_to(folder).as_posix())
    return tuple(sorted(written))


def _question(request: AccessRequest, person: Person, grant: Grant, action: str) -> _Question:
    return _Question(
        person=person.id,
        audience=person.audience,
        organisation=person.organisation,
        active=person.active,
        action=action,
        bundle=request.bundle,
        level=str(request.level),
        stage=request.stage,
        depths=frozenset(str(depth) for depth in request.depths),
        grant_depths=frozenset(str(depth) for depth in grant.depths),
        audience_depths=frozenset(str(depth) for depth in request.audience_depths),
        purpose=grant.purpose,
        tools=request.tools,
        agentic=grant.agentic,
    )


def _cedar_arguments(question: _Question) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    person = {"type": "Person", "id": question.person}
    bundle = {"type": "Bundle", "id": question.bundle}
    entities: list[dict[str, Any]] = [
        {
            "uid": person,
            "attrs": {
                "audience": question.audience,
                "organisation": question.organisation,
                "active": question.active,
            },
            "parents": [],
        },
        {
            "uid": bundle,
            "attrs": {
                "digest": question.bundle,
                "level": question.level,
                "stage": question.stage,
            },
            "parents": [],
        },
    ]
    request: dict[str, Any] = {
        "principal": person,
        "action": {"type": "Action", "id": question.action},
        "resource": bundle,
        "context": {
            "depths": sorted(question.depths),
            "grant_depths": sorted(question.grant_depths),
            "audience_depths": sorted(question.audience_depths),
            "purpose": question.purpose,
            "tools": question.tools,
            "agentic": question.agentic,
        },
    }
    return request, entities


def _names(folder: Path) -> list[str]:
    names = [
        path.name
        for path in folder.iterdir()
        if path.suffix == ".cedar" or path.name == SCHEMA_NAME
    ]
    if len(names) > LIMITS.files_max:
        message = f"more than {LIMITS.files_max} policy files"
        raise Invalid(message, code="bad_policy")
    return sorted(names)


def _marks(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """What tells a changed file from an unchanged one without reading it."""
    try:
        stats = [(name, (folder / name).stat()) for name in _names(folder)]
    except (OSError, Invalid):
        return ()
    return tuple((name, s.st_ino, s.st_size, s.st_mtime_ns) for name, s in stats)


def _read(folder: Path) -> dict[str, bytes]:
    files = {}
    try:
        for name in _names(folder):
            with (folder / name).open("rb") as file:
                files[name] = file.read(LIMITS.file_bytes_max + 1)
    except OSError as error:
        raise Invalid(f"the rules in {folder} cannot be read", code="bad_policy") from error
    for name, data in files.items():
        if len(data) > LIMITS.file_bytes_max:
            message = f"{name} is larger than {LIMITS.file_bytes_max} bytes"
            raise Invalid(message, code="bad_policy")
    return files


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"{name} is not UTF-8", code="bad_policy") from error


def _schema(text: str) -> Any:
    try:
        return cedarpy.Schema.from_str(text)
    except ValueError as error:
        raise Invalid(f"{SCHEMA_NAME}: {_line(error)}", code="bad_policy") from error


def _rules(name: str, text: str, schema: Any) -> list[Rule]:
    """The rules of one file, in its order, each with an id and a reason."""
    try:
        parsed = json.loads(cedarpy.policies_to_json_str(text))
    except ValueError as error:
        raise Invalid(f"{name} does not parse: {_line(error)}", code="bad_policy") from error
    if parsed["templates"] or parsed["templateLinks"]:
        hint = "write the person or the bundle where the template has ?principal or ?resource"
        raise Invalid(f"{name} holds a template", code="bad_policy", hint=hint)
    result = cedarpy.validate_policies(text, schema)
    if not result.validation_passed:
        first = result.errors[0].error if result.errors else "unknown"
        message = f"{name} does not fit the schema: {first}"
        raise Invalid(message, code="bad_policy", hint="docs/reference/policies.md has the words")
    policies = parsed["staticPolicies"]
    rules = []
    for index in range(len(policies)):
        policy = policies[f"policy{index}"]
        notes = policy.get("annotations", {})
        identifier, reason = notes.get("id") or "", notes.get("reason") or ""
        if not identifier or not reason:
            missing = "an @id" if not identifier else f"a @reason ('{identifier}')"
            hint = "each rule says what it is called and why it is there"
            raise Invalid(f"a rule in {name} lacks {missing}", code="bad_policy", hint=hint)
        rules.append(Rule(identifier, policy["effect"], reason, name))
    return rules


def _check_ids(rules: list[Rule]) -> None:
    if len(rules) > LIMITS.rules_max:
        raise Invalid(f"more than {LIMITS.rules_max} rules", code="bad_policy")
    seen: dict[str, str] = {}
    for rule in rules:
        if rule.id in seen:
            message = f"the rule '{rule.id}' is in {seen[rule.id]} and in {rule.file}"
            raise Invalid(message, code="bad_policy", hint="give each rule an @id of its own")
        if rule.id in (DEFAULT_DENY, BROKEN):
            raise Invalid(f"the @id '{rule.id}' is taken", code="bad_policy")
        seen[rule.id] = rule.file


def _line(error: ValueError) -> str:
    return str(error).splitlines()[0]
