"""How a row is written for the generator. Finetuning and sampling must agree to the letter."""

import re

from app.contracts.spec import Conditioning


def prompt(label: str | None, conditioning: Conditioning) -> str:
    """What precedes the text. Without conditioning there is no label in it."""
    return "Text:" if conditioning == "none" or label is None else f"Topic: {readable(label)}\nText:"


def readable(label: str) -> str:
    """`card_arrival` -> `card arrival`: words the model has read before steer it better than identifiers."""
    return re.sub(r"[\s_]+", " ", label).strip()
