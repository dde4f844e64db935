"""Models of two layers with random weights, whose vocabulary is that of the bundled example."""

import csv
import re
from collections import Counter
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import BertConfig, BertModel, BertTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.docs.blocks import ROOT

END = "<|end|>"


def example_texts() -> list[str]:
    with (ROOT / "examples" / "banking10.csv").open(newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


def save_models(folder: Path) -> Path:
    """`encoder` and `llama` below the folder."""
    torch.manual_seed(0)
    texts = example_texts()
    _save_encoder(folder / "encoder", texts)
    _save_llama(folder / "llama", texts)
    return folder


def _save_encoder(folder: Path, texts: list[str]) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = Counter(word for text in texts for word in re.findall(r"[a-z0-9]+", text.lower()))
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters), *".,?!'-$", *words]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=128,
        # The usual 0.02 drowns so narrow a model in its layer norms; it would learn too slowly for a test.
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizer(vocab=vocabulary).save_pretrained(folder)


def _save_llama(folder: Path, texts: list[str]) -> None:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(vocab_size=1500, special_tokens=[END], initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator([f" {text}" for text in texts], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        bos_token_id=None,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        initializer_range=0.1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
