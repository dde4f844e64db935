"""The generator's network: loading, and rows as token ids."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from app.contracts.spec import SpecError


def load_generator(folder: Path, dtype: torch.dtype) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Raises `SpecError` if the tokenizer has no end-of-text token: a text could then never end."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if tokenizer.eos_token_id is None:
        raise SpecError(f"The tokenizer in {folder} has no end-of-text token; choose another generator.")
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=dtype)
    return model, tokenizer


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Ids of a prompt, with the begin-of-text token where the model has one of its own."""
    ids: list[int] = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    return [bos, *ids] if bos is not None and bos != eos else ids
