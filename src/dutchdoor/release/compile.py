"""A decision in force as Cedar policies: the same terms, said a second time, where access asks.

Access already holds everybody to the depths that the decision in force opens to them. These rules
say it again independently: they only forbid, so that they can never open anything, and they also
refuse everything where the decision in force is another than the one they were made from.
`base.cedar` holds what permits.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dutchdoor.audit.document import write_bytes
from dutchdoor.clock import to_iso
from dutchdoor.evidence.decision import Audience, Decision, Depth
from dutchdoor.evidence.rollback import narrowed, places
from dutchdoor.release.model import AUDIENCES

__all__ = ["HEADER", "POLICIES_NAME", "bundle_rules", "compile_policies", "write_policies"]

POLICIES_NAME = "decision.cedar"

HEADER = """\
// Generated from the release decisions in force; do not edit: it is written anew whenever a
// decision comes into force or is revoked. Add rules of your own in another file.
"""

_DEPTH_WORDS = {
    Depth.SAMPLING: "asking the model",
    Depth.DECODING_CONTROL: "control of how answers are drawn",
    Depth.LOGPROBS: "probabilities of tokens",
    Depth.LOGITS: "full scores of all tokens",
    Depth.ACTIVATIONS: "reading inner states",
    Depth.INTERVENTIONS: "changing inner states",
    Depth.GRADIENTS: "gradients",
    Depth.FINE_TUNING: "fine-tuning",
    Depth.AUDIT: "what the internal audit needs",
}


def compile_policies(decisions: Iterable[Decision]) -> str:
    """The Cedar text of these decisions, at most one a bundle; the same ones give the same text."""
    ordered = sorted(decisions, key=lambda decision: decision.bundle)
    parts = [HEADER]
    if not ordered:
        parts.append("// No decision is in force: there is nothing to narrow, and nothing is open.")
    parts += [bundle_rules(decision) for decision in ordered]
    return "\n".join(parts) + "\n"


def write_policies(folder: Path, decisions: Iterable[Decision]) -> Path:
    """Write `decision.cedar` into `folder`, whole or not at all; the file's path."""
    path = folder / POLICIES_NAME
    write_bytes(path, compile_policies(decisions).encode())
    return path


def bundle_rules(decision: Decision) -> str:
    """The rules of one decision, as they stand in the file.

    They hold for its stage, and for each earlier one of its plan that it may fall back to: a
    roll-back by itself is in force before anybody can write a file.
    """
    resource = f"Bundle::{_string(decision.bundle)}"
    head = (
        f"// {_comment(decision.model)}: level {decision.level}, stage {_comment(decision.stage)}\n"
        f"// {decision.id}, until {to_iso(decision.not_after_ms)}\n"
    )
    name = decision.id
    earlier = (narrowed(decision, stage) for stage in places(decision)[-2:0:-1])
    stages = [decision, *(row for row in earlier if row is not None)]
    here = " || ".join(
        f"resource.level == {_string(str(row.level))} && resource.stage == {_string(row.stage)}"
        for row in stages
    )
    reason = (
        "The rules were made from another decision than the one in force: "
        "make them anew before anybody is let in."
    )
    rules = [_rule(f"{name}.is_the_one_in_force", reason, resource, "unless", here)]
    rules += _stage_rules(decision, name, resource, "" if len(stages) == 1 else decision.stage)
    for number, row in enumerate(stages[1:], 1):
        rules += _stage_rules(row, f"{name}.back_{number}", resource, row.stage)
    if not decision.terms.runtime.tools:
        reason = "The decision opens neither tools nor agents to anybody."
        rules.append(_rule(f"{name}.tools", reason, resource, "when", "context.tools"))
    return head + "\n".join(rules)


def _stage_rules(decision: Decision, name: str, resource: str, stage: str) -> list[str]:
    """Whom `decision` lets in, how deep. stage: the rules hold in it alone, "" for in any."""
    within = f"resource.stage == {_string(stage)} && " if stage else ""
    beyond = f"resource.stage != {_string(stage)} || " if stage else ""
    let_in = f"The decision lets in: {_who(decision.audiences)}."
    rules = [
        _rule(f"{name}.audiences", let_in, resource, "unless", beyond + _any(decision.audiences))
    ]
    for depth in Depth:
        rows = [row for row in decision.audiences if depth in row.depths]
        asked = f'{within}context.depths.contains("{depth}")'
        reason = f"The decision opens {_DEPTH_WORDS[depth]} to: {_who(rows)}."
        condition = f"{asked} && !({_any(rows)})" if rows else asked
        rules.append(_rule(f"{name}.{depth}", reason, resource, "when", condition))
    return rules


def _rule(identifier: str, reason: str, resource: str, word: str, condition: str) -> str:
    return (
        f"@id({_string(identifier)})\n"
        f"@reason({_string(reason)})\n"
        f"forbid (principal, action, resource == {resource})\n"
        f"{word} {{ {condition} }};\n"
    )


def _any(rows: Iterable[Audience]) -> str:
    parts = []
    for row in rows:
        part = f"principal.audience == {_string(row.name)}"
        if row.people:
            people = ", ".join(f"Person::{_string(person)}" for person in row.people)
            part = f"({part} && [{people}].contains(principal))"
        parts.append(part)
    return " || ".join(parts) or "false"


def _who(rows: Iterable[Audience]) -> str:
    names = [
        AUDIENCES.get(row.name, row.name) + (" who are named" if row.people else "") for row in rows
    ]
    return "; ".join(names) or "nobody"


def _string(text: str) -> str:
    """A Cedar string literal: everything that could end it or confuse a reader is escaped."""
    parts = []
    for char in text:
        if char in '\\"':
            parts.append("\\" + char)
        elif char.isprintable():
            parts.append(char)
        else:
            parts.append(f"\\u{{{ord(char):x}}}")
    return '"' + "".join(parts) + '"'


def _comment(text: str) -> str:
    # A line end would leave the comment and become a rule.
    return "".join(char if char.isprintable() else " " for char in text)
