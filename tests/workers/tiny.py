"""Tiny random models with real tokenizers, saved as ordinary model folders, and rows with an obvious signal."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import BertConfig, BertModel, BertTokenizer, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers import PreTrainedTokenizerFast as FastTokenizer

from app.contracts.presets import resolve_spec
from app.contracts.rows import Row
from app.contracts.spec import JobSpec

SIGNAL = {
    "card_arrival": ["card", "delivery", "post", "envelope", "arrive", "mail", "courier", "letter"],
    "exchange_rate": ["rate", "currency", "euro", "dollar", "convert", "market", "pound", "spread"],
    "pin_change": ["pin", "code", "digits", "change", "forgot", "secret", "keypad", "reset"],
}
# fmt: off
FILLER = [
    "please", "my", "the", "is", "for", "today", "new", "can", "help", "where",
    "when", "how", "still", "with", "soon", "after", "before", "again", "what", "now",
]
# fmt: on
LABELS = sorted(SIGNAL)
END = "<|end|>"


def make_rows(per_label: int, seed: int = 0) -> list[Row]:
    """Distinct texts; each names its label by three words that no other label uses."""
    rng = random.Random(seed)
    rows = {}
    for label, words in SIGNAL.items():
        made = 0
        while made < per_label:
            parts = [*rng.sample(words, 3), *rng.sample(FILLER, 4)]
            rng.shuffle(parts)
            text = " ".join(parts)
            made += text not in rows
            rows.setdefault(text, Row(text, label))
    return list(rows.values())


WORDS = [*FILLER, *(word for words in SIGNAL.values() for word in words)]


def word_pieces(words: Sequence[str] = WORDS) -> dict[str, int]:
    """A WordPiece vocabulary that can spell any lower-case word; the last hundred pieces occur in no text."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters), *".,?!'-", *words]
    pieces += [f"[unused{number}]" for number in range(100)]
    return {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}


def save_encoder(folder: Path, seed: int = 0, positions: int = 64, *, words: Sequence[str] = WORDS, width: int = 32) -> Path:
    """A BertModel of two layers."""
    vocabulary = word_pieces(words)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=positions,
        # The usual 0.02 drowns so narrow a model in its layer norms; it would learn too slowly for a test.
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizer(vocab=vocabulary).save_pretrained(folder)
    return folder


def causal_tokenizer(texts: Sequence[str] = (), size: int = 400) -> FastTokenizer:
    """Byte-level BPE, as SmolLM2's and GPT-2's: any text survives encoding and decoding."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(vocab_size=size, special_tokens=[END], initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    texts = texts or [row.text for row in make_rows(20)]
    tokenizer.train_from_iterator([f" {text}" for text in texts], trainer)
    return FastTokenizer(tokenizer_object=tokenizer, eos_token=END, pad_token=END)


def save_llama(folder: Path, seed: int = 0, tokenizer: FastTokenizer | None = None, width: int = 32) -> Path:
    """A LlamaForCausalLM of two layers."""
    tokenizer = tokenizer or causal_tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_gpt2(folder: Path, seed: int = 0) -> Path:
    """A GPT2LMHeadModel of two layers, 32 wide: learned positions, and embeddings tied to the output."""
    tokenizer = causal_tokenizer()
    torch.manual_seed(seed)
    end = tokenizer.eos_token_id
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=128, bos_token_id=end, eos_token_id=end)
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_spec(teacher: Path, generator: Path, /, **overrides: dict[str, Any]) -> JobSpec:
    """A whole job that takes seconds; `overrides` by part, as a caller would send them."""
    spec: dict[str, dict[str, Any]] = {
        "teacher": {"model": str(teacher), "epochs": 10, "learning_rate": 2e-3, "head_learning_rate": 1e-2, "precision": "fp32"},
        "generator": {"model": str(generator), "epochs": 6, "learning_rate": 1e-2, "batch_size": 4, "precision": "fp32", "method": "full"},
        "generate": {"texts": 40, "batch_size": 32, "max_new_tokens": 40, "max_attempts": 6.0, "near_duplicate": 0.9},
        "distil": {"epochs": 6, "min_steps": 60, "max_parameters": 100_000, "max_tokens": 32},
        "publish": {"bootstrap_samples": 200},
    }
    for part, fields in overrides.items():
        spec[part] = {**spec.get(part, {}), **fields}
    return resolve_spec("fast", spec)
