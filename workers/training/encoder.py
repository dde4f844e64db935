"""The teacher's network: a pretrained encoder, mean pooling, a linear head."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from app.contracts.spec import Precision, SpecError
from workers.training.batching import length_sorted_batches, pad
from workers.training.devices import autocast

HEAD_FILE = "head.safetensors"


class Teacher(nn.Module):
    """`forward`: ids (B, T), mask (B, T) -> logits (B, C)."""

    encoder: PreTrainedModel

    def __init__(self, encoder: PreTrainedModel, hidden: int, classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, classes)

    def pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Mean of the last hidden states over the real tokens, (B, H) (Reimers and Gurevych 2019)."""
        hidden: Tensor = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(self.pooled(ids, mask)))
        return logits

    def word_embeddings(self) -> Tensor:
        """(V, H): the table that the encoder looks its pieces up in."""
        return self.encoder.get_input_embeddings().get_parameter("weight")

    def freeze_word_embeddings(self, frozen: bool) -> None:
        self.word_embeddings().requires_grad_(not frozen)

    def save(self, folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        self.encoder.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        save_file({name: tensor.contiguous() for name, tensor in self.head.state_dict().items()}, folder / HEAD_FILE)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Its `model_max_length` is no more than the encoder has positions for.

    Raises `SpecError` for a tokenizer without a `tokenizers` backend: the student is served with that alone.
    """
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if not tokenizer.is_fast:
        raise SpecError(f"The tokenizer in {folder} has no tokenizer.json; choose an encoder with a fast tokenizer.")
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    positions = getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length
    tokenizer.model_max_length = min(tokenizer.model_max_length, positions)
    return tokenizer


def new_teacher(folder: Path, classes: int) -> Teacher:
    """Pretrained encoder, fresh head."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # fp32 masters: a checkpoint stored in half precision would lose small updates.
    encoder = AutoModel.from_pretrained(
        folder, config=config, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
    )
    return Teacher(encoder, config.hidden_size, classes)


def load_teacher(folder: Path) -> tuple[Teacher, PreTrainedTokenizerBase]:
    """A finetuned teacher, in evaluation mode."""
    head = load_file(folder / HEAD_FILE)
    teacher = new_teacher(folder, head["weight"].shape[0])
    teacher.head.load_state_dict(head)
    return teacher.eval(), load_tokenizer(folder)


def encode(tokenizer: PreTrainedTokenizerBase, texts: list[str], max_tokens: int) -> list[list[int]]:
    """Token ids with the special tokens, cut to `max_tokens` and to what the encoder can read."""
    ids: list[list[int]] = tokenizer(texts, truncation=True, max_length=min(max_tokens, tokenizer.model_max_length))["input_ids"]
    return ids


def vocabulary_words(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[str]:
    """The words that are one piece of the tokenizer, spelled in letters that `texts` hold: an English set gets no Chinese ones."""
    letters = {letter for text in texts for letter in text.casefold()}
    pieces = range(len(tokenizer))
    words = [word.strip() for word in tokenizer.batch_decode([[piece] for piece in pieces])]
    chosen = [(piece, word) for piece, word in zip(pieces, words, strict=True) if word.isalpha() and letters.issuperset(word.casefold())]
    read = tokenizer([word for _, word in chosen], add_special_tokens=False)["input_ids"] if chosen else []
    return [word for (piece, word), ids in zip(chosen, read, strict=True) if ids == [piece]]


def predict_logits(
    teacher: Teacher,
    ids: list[list[int]],
    pad_id: int,
    batch_size: int,
    device: torch.device,
    precision: Precision = "fp32",
    on_batch: Callable[[int], None] | None = None,
) -> Tensor:
    """fp32 logits (N, C) in the order of `ids`. `on_batch(done)`, if given, is called after each batch."""
    return _in_batches(teacher, teacher.head.out_features, ids, pad_id, batch_size, device, precision, on_batch)


def pooled_features(
    teacher: Teacher,
    ids: list[list[int]],
    pad_id: int,
    batch_size: int,
    device: torch.device,
    precision: Precision = "fp32",
    on_batch: Callable[[int], None] | None = None,
) -> Tensor:
    """fp32 mean-pooled embeddings (N, H) in the order of `ids`. `on_batch(done)`, if given, is called after each batch."""
    return _in_batches(teacher.eval().pooled, teacher.head.in_features, ids, pad_id, batch_size, device, precision, on_batch)


def _in_batches(
    function: Callable[[Tensor, Tensor], Tensor],
    width: int,
    ids: list[list[int]],
    pad_id: int,
    batch_size: int,
    device: torch.device,
    precision: Precision,
    on_batch: Callable[[int], None] | None,
) -> Tensor:
    out = torch.empty(len(ids), width)
    done = 0
    for batch in length_sorted_batches([len(row) for row in ids], batch_size):
        rows = [ids[index] for index in batch]
        padded = pad(rows, pad_id).to(device)
        with torch.inference_mode(), autocast(precision, device):
            out[batch] = function(padded, attention_mask(rows, padded)).float().cpu()
        done += len(batch)
        if on_batch:
            on_batch(done)
    return out


def attention_mask(rows: list[list[int]], padded: Tensor) -> Tensor:
    """(B, T) int64: 1 on real tokens, 0 on padding."""
    lengths = torch.tensor([len(row) for row in rows], device=padded.device)
    return (torch.arange(padded.shape[1], device=padded.device) < lengths.unsqueeze(1)).to(torch.int64)
