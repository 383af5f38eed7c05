"""A tiny random Llama as an ordinary model folder: everything of a real one but the sense.

    folder = write_tiny_model(tmp_path / "tiny")

Hidden 64, 4 blocks, 4 heads (2 of keys and values), byte-level BPE trained here, a chat template.
Made in under a second and always the same.
"""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["TEMPLATE", "write_tiny_model"]

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n'"
    " + message['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_CORPUS = (
    "the quick brown fox jumps over the lazy dog while the rain in spain stays in the plain",
    "a model is sealed, audited, decided on, served, and every answer is proved to have been given",
    "user assistant system hello what is the capital of france paris it is nice to meet you",
)


def write_tiny_model(
    folder: Path,
    *,
    seed: int = 0,
    context: int = 1024,
    hidden: int = 64,
    more: tuple[str, ...] = (),
) -> Path:
    """Writes the model to `folder` and returns it. Weights are float32.

    more: texts that the tokenizer is trained on besides, for up to 512 tokens.
    """
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*_CORPUS, *more], trainer)
    config = transformers.LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=hidden,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        initializer_range=0.2,  # wide, so that the next token is not a coin's toss
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    torch.manual_seed(seed)
    model = transformers.LlamaForCausalLM(config)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder
