"""The engine on SmolLM2-135M-Instruct: the real tokenizer, template and weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dutchdoor.evidence.decision import GuardTerms
from dutchdoor.runtime.guarding import Guard
from dutchdoor.runtime.model import RuntimeLimits
from dutchdoor.runtime.protocol import ChatMessage, Generate, Token, Tokenize, Tokenized
from dutchdoor.runtime.transformers_engine.engine import EngineOptions, TransformersEngine
from dutchdoor.runtime.transformers_engine.loading import load_model, pick_dtype
from tests.runtime.parts import BUNDLE, FolderFiles, Run, run_all

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def engine(model_folder: Path) -> Iterator[TransformersEngine]:
    guard = Guard(BUNDLE, GuardTerms(), None)
    options = EngineOptions("smollm2", dtype="float32", threads=2)
    files = FolderFiles(model_folder)
    made = TransformersEngine(files, guard, options=options, limits=RuntimeLimits())
    yield made
    made.close()


def ask(name: str, text: str, tokens_max: int = 12, **more: Any) -> Generate:
    more = {"temperature": 0.0, **more}
    return Generate(name, tokens_max, chat=[ChatMessage("user", text)], block=False, **more)


def test_it_knows_the_capital_of_france(engine: TransformersEngine) -> None:
    run = Run(engine, ask("a", "What is the capital of France?"))
    assert run.done.reason == "stop"
    assert run.text == "The capital of France is Paris."


def test_neighbours_change_no_answer(engine: TransformersEngine) -> None:
    texts = ["Count to five.", "Name a colour.", "What is water?" * 20, "Say hello in French."]
    works = [ask(f"q{n}", text, 16, temperature=0.8, seed=n) for n, text in enumerate(texts)]
    alone = [run_all(engine, [work])[0].token_ids for work in works]
    together = [run.token_ids for run in run_all(engine, works)]
    assert alone == together


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_logits_are_those_of_from_pretrained(model_folder: Path, dtype: str) -> None:
    import torch
    import transformers

    loaded = load_model(FolderFiles(model_folder), pick_dtype(dtype))
    wanted = transformers.AutoModelForCausalLM.from_pretrained(
        model_folder, dtype=getattr(torch, dtype)
    )
    ids = torch.tensor([[1, 504, 3575, 282, 4649, 314]])
    with torch.no_grad():
        assert torch.equal(loaded.model(ids).logits, wanted(ids).logits)
    assert loaded.eos == {2}


def test_weights_of_the_sealed_type_are_not_copied(model_folder: Path) -> None:
    import torch

    files = FolderFiles(model_folder)
    loaded = load_model(files, torch.bfloat16)
    memory = max(files.handed_out, key=len)
    start = torch.frombuffer(memory, dtype=torch.uint8).data_ptr()
    for _, parameter in loaded.model.named_parameters():
        assert start <= parameter.data_ptr() < start + len(memory)


def test_tokens_of_a_conversation_are_the_librarys(
    engine: TransformersEngine, model_folder: Path
) -> None:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    chat = [ChatMessage("user", "Grüße, 你好 🙂!"), ChatMessage("assistant", "ok"),
            ChatMessage("user", " def f(x):\n\treturn x ")]  # fmt: skip
    message = Run(engine, Tokenize("t", chat=chat)).wait()
    assert isinstance(message, Tokenized)
    turns = [{"role": turn.role, "content": turn.content} for turn in chat]
    wanted = tokenizer.apply_chat_template(turns, add_generation_prompt=True)["input_ids"]
    assert message.token_ids == wanted
    assert b"".join(message.pieces).decode() == tokenizer.decode(wanted)


def test_loglikelihood_of_a_true_sentence_is_higher(engine: TransformersEngine) -> None:
    totals = []
    for city in ("Paris", "Banana"):
        text = f"The capital of France is {city}."
        work = Generate("s", 0, text=text, echo=True, logprobs=1, block=False)
        run = Run(engine, work)
        assert run.done.completion_tokens == 0
        echoed = [m for m in run.messages if isinstance(m, Token)]
        totals.append(sum(token.logprob or 0.0 for token in echoed))
    assert totals[0] > totals[1] + 5
