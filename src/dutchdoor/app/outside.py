"""Keys of those outside whose signature a decision may demand: regulators, licensing bodies."""

from __future__ import annotations

from dataclasses import replace

from dutchdoor.app import keys
from dutchdoor.app.workspace import Workspace
from dutchdoor.config import Places
from dutchdoor.custody.keyring import KeyKind, PublicKey, create_signing_key, parse_public_line
from dutchdoor.errors import Invalid, Refused
from dutchdoor.evidence.statement import key_id
from dutchdoor.evidence.trust import encode_trust, parse_trust, save_trust
from dutchdoor.release.names import Names

__all__ = ["add_outside", "make_outside_key", "outside_names"]


def make_outside_key(places: Places, name: str) -> PublicKey:
    """A new key for somebody outside, in this machine's keyring; its public part.

    Raises Refused: there is one of that name already.
    """
    if name == "holder" or name in keys.signer_names(places):
        message = f"there is a key of '{name}' here already"
        hint = "one name, one key: choose another"
        raise Refused(message, code="key_exists", hint=hint)
    return create_signing_key(keys.outside_path(places, name), name).public


def add_outside(workspace: Workspace, line: str) -> str:
    """Trust the key of a public line (unverified) as somebody's outside; its key id.

    Only with the holder's key here: whom a workspace trusts is the holder's to say. Whoever
    verifies elsewhere needs the new trust.json.
    Raises NotFound: no holder's key. Raises Refused: another holder's key, the key is somebody's
    inside, or another key of that name is trusted. Raises Invalid: no such line.
    """
    holder = keys.holder(workspace.places)
    trust = workspace.trust
    if trust.holder.get(key_id(holder.public_key)) != holder.public_key:
        message = "the holder's key here is not the one in trust.json"
        raise Refused(message, code="not_the_holder", hint="run it where the holder's key is")
    public = parse_public_line(line)
    if public.kind is not KeyKind.SIGNING:
        hint = "they make one with: dutchdoor release outside-key NAME"
        raise Invalid("the line holds no signing key", code="bad_public_key", hint=hint)
    key = key_id(public.data)
    if key in {**trust.holder, **trust.approvers, **trust.auditors}:
        message = f"the key of {public.name} is the holder's, an approver's or an auditor's"
        hint = "whoever signs from outside has a key of their own"
        raise Refused(message, code="duties_not_separate", hint=hint)
    names = Names(workspace.places.release)
    known = names.known()
    taken = [other for other in trust.outside if other != key and known.get(other) == public.name]
    if taken:
        message = f"another key of '{public.name}' is trusted already: {taken[0]}"
        hint = "one name, one key: let them choose another name, for instance with the year"
        raise Refused(message, code="key_exists", hint=hint)
    more = replace(trust, outside={**trust.outside, key: public.data})
    save_trust(workspace.places.trust, parse_trust(encode_trust(more)))
    names.learn({key: public.name})
    return key


def outside_names(workspace: Workspace) -> dict[str, str]:
    """Names by key id of all whom the workspace trusts as outside; the id where none is known."""
    known = Names(workspace.places.release).known()
    return {key: known.get(key, key) for key in sorted(workspace.trust.outside)}
