"""Prompts: what the generator reads before a text."""

import json
from pathlib import Path

import pytest
import torch

from tests.workers.tiny import END, causal_tokenizer, save_llama
from workers.training.causal import load_generator, prompt_ids
from workers.training.prompts import prompt, readable


@pytest.mark.parametrize(
    ("label", "words"), [("card_arrival", "card arrival"), ("World", "World"), (" a__b \t c ", "a b c"), ("Sci/Tech", "Sci/Tech")]
)
def test_labels_are_written_as_words(label: str, words: str) -> None:
    assert readable(label) == words
    assert prompt(label, "label") == f"Topic: {words}\nText:"


def test_without_conditioning_no_label_is_read() -> None:
    assert prompt("card_arrival", "none") == prompt(None, "none") == prompt(None, "label") == "Text:"


def test_a_begin_token_of_its_own_starts_the_prompt() -> None:
    tokenizer = causal_tokenizer()
    plain = prompt_ids(tokenizer, "Text:")
    assert tokenizer.decode(plain) == "Text:"
    tokenizer.bos_token = END  # as GPT-2 has it: the end token, which starts nothing
    assert prompt_ids(tokenizer, "Text:") == plain
    tokenizer.add_special_tokens({"bos_token": "<|begin|>"})
    assert prompt_ids(tokenizer, "Text:") == [tokenizer.bos_token_id, *plain]


def test_a_tokenizer_without_an_end_is_refused(tmp_path: Path) -> None:
    folder = save_llama(tmp_path)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["eos_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="no end-of-text token; choose another generator"):
        load_generator(folder, torch.float32)
