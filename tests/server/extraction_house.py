"""A real server over a real small model, with the accountant as it is, or off for comparison.

The accountant cannot be turned off by any setting: `Unaccounted` is an object of the tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dutchdoor.access.attacks import Matrix
from dutchdoor.access.cedar import PolicyBook
from dutchdoor.access.keys import HashKey
from dutchdoor.access.model import Amounts, Grant, Refusal, Reservation
from dutchdoor.access.service import Access
from dutchdoor.access.store import AccessStore
from dutchdoor.audit.evaluations.door import Door
from dutchdoor.config import LimitsConfig
from dutchdoor.custody.keyring import load_secret
from dutchdoor.db.engine import open_database, sqlite_url
from dutchdoor.evidence.decision import GuardTerms
from dutchdoor.ids import BundleDigest
from dutchdoor.runtime.guarding import Guard
from dutchdoor.runtime.model import RuntimeLimits
from dutchdoor.runtime.transformers_engine.engine import EngineOptions, TransformersEngine
from dutchdoor.runtime.transformers_engine.text import TextSide
from dutchdoor.server.api.completions import name_of
from tests.gateway.house import BUNDLE, House
from tests.runtime.parts import FolderFiles, TestProbe
from tests.runtime.twin import TWIN_BUNDLE, TWIN_PROBE, Twin
from tests.server.house import Served, served

HIDDEN = 128
ALL = 512
"""More log-probabilities than the model has tokens: only these tests raise the limits so far."""


class Unaccounted(Access):
    """Counts requests and tokens, and neither vectors nor numbers."""

    def reserve(
        self, identifier: str, grant: Grant, amounts: Amounts, **standing: Any
    ) -> Reservation | Refusal:
        return super().reserve(identifier, grant, _text_alone(amounts), **standing)

    def settle(self, reservation: Reservation, used: Amounts) -> bool:
        return super().settle(reservation, _text_alone(used))


def _text_alone(amounts: Amounts) -> Amounts:
    return replace(amounts, vectors=0, numbers=0)


class OpenHouse(House):
    """A house whose gateway counts nothing."""

    def open_access(self) -> Access:
        return Unaccounted(
            AccessStore(open_database(sqlite_url(self.places.database))),
            self.clock,
            hash_key=HashKey(load_secret(self.places.keyring / "access.key")),
            policies=PolicyBook(self.places.policies),
        )


@dataclass(frozen=True)
class Attacked:
    """A server under attack. names: of the tokens. weights: the last layer's, [V, h], with the last
    norm's in them."""

    house: House
    server: Served
    names: list[str]
    weights: Matrix

    def door(self, *, vectors: int = 1000) -> Door:
        """A new person's way in, with a grant of so many vectors of their own."""
        return Door(f"{self.server.url}/v1", "twin", self.key(vectors=vectors))

    def key(self, *, vectors: int = 1000) -> str:
        """A new person's key, once the server knows it: it looks for changes every 50 ms."""
        key = self.house.granted(vectors=vectors, tokens=10_000_000, requests=100_000)
        door = Door(f"{self.server.url}/v1", "twin", key)
        self.server.wait(lambda: door.get("/models").status == 200)
        return key

    @property
    def bundle(self) -> BundleDigest:
        return BUNDLE

    @property
    def released(self) -> int:
        return self.house.access.released(BUNDLE)

    def true(self, tokens: Sequence[str]) -> Matrix:
        """The rows of the last layer of these tokens, as the server names them."""
        places = {name: place for place, name in enumerate(self.names)}
        return np.asarray(self.weights[[places[token] for token in tokens]])


def true_weights(model: Path) -> tuple[list[str], Matrix]:
    """Every token's name, and its row of the last layer."""
    import transformers

    loaded = transformers.AutoModelForCausalLM.from_pretrained(model)
    weights = loaded.get_output_embeddings().weight.detach().double().numpy()
    norm = loaded.get_decoder().norm.weight.detach().double().numpy()
    text = TextSide((model / "tokenizer.json").read_bytes(), {}, "")
    names = [name_of(text.piece(token)) for token in range(len(weights))]
    return names, np.asarray(weights * norm)


@contextmanager
def attacked(
    folder: Path,
    model: Path,
    *,
    counting: bool,
    vectors_max: int = HIDDEN // 4,
    hidden: int = HIDDEN,
    width: int = ALL,
) -> Iterator[Attacked]:
    """The model in `model`, served below `folder`. counting: the accountant as it is.

    hidden: how wide the model is. width: log-probabilities that a position may show.
    """
    limits = LimitsConfig(top_logprobs_max=width)
    house = (House if counting else OpenHouse)(folder, limits=limits)
    house.decide(hidden_size=hidden, vectors_max=vectors_max)
    probe = TestProbe(digest=TWIN_PROBE, bundle=TWIN_BUNDLE, hidden=hidden)
    runtime_limits = RuntimeLimits(top_logprobs_max=width)
    engine = TransformersEngine(
        FolderFiles(model, TWIN_BUNDLE),
        Guard(TWIN_BUNDLE, GuardTerms(TWIN_PROBE, "fpr_0.01", 0), probe),
        options=EngineOptions("twin", dtype="float32", threads=1),
        limits=runtime_limits,
    )
    try:
        with Twin(house.socket, engine, runtime_limits), served(house) as server:
            yield Attacked(house, server, *true_weights(model))
    finally:
        engine.close()
