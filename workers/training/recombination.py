"""New texts from parts of others: what a language model costs minutes for, this gives in milliseconds, if less fluently.

A student matches its teacher better the more texts it sees the teacher answer (Beyer et al. 2022), also such as nobody would write:
crossing two texts, or leaving a part out, shows how the teacher's answer follows from the parts, and a word that stands where another
stood shows what the teacher knows of words that no text of the user holds (the idea of data augmentation in TinyBERT, Jiao et al. 2020,
with a teacher's answer for every new text).
"""

import random
import re
from collections.abc import Sequence

_UNITS = re.compile(r"\S+\s*")
# Thai, Lao, Burmese, Khmer, kana and Han: written without spaces between words.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
_LETTERS = re.compile(r"[^\W\d_]+")
_LEAST_UNITS = 3
_DROPPED = 0.3
_TRIES = 3  # for each text that is wanted: short texts often give one that is there already


def recombine(texts: list[str], count: int, seed: int, words: Sequence[str] = (), exchanged: float = 0.0) -> list[str]:
    """At most `count` new texts, none equal to another or to one of `texts`; fewer where `texts` hold too little.

    With `words`, half of them are texts in which a share of `exchanged` words gave way to one of those.
    """
    rng = random.Random(seed)
    parts = [found for text in texts if (found := units(text))]
    known = {text.strip() for text in texts}
    made: list[str] = []
    for _ in range(_TRIES * count if parts else 0):
        if len(made) == count:
            break
        if words and exchanged and rng.random() < 0.5:
            text = _exchanged(rng.choice(parts), words, exchanged, rng)
        else:
            text = _joined(rng.choice(parts), rng.choice(parts), rng)
        if text and text not in known:
            known.add(text)
            made.append(text)
    return made


def units(text: str) -> list[str]:
    """Words with the space after them; characters of a writing that does not space its words, where spaces leave too few parts."""
    words = _UNITS.findall(text)
    return words if len(words) >= _LEAST_UNITS or not _UNSPACED.search(text) else list(text)


def _joined(one: list[str], other: list[str], rng: random.Random) -> str:
    """Half of the time the start of one and the end of another; else half of one as it stands, or one with units left out."""
    way = rng.random()
    if way < 0.5:
        start, end = rng.randint(1, max(1, len(one) - 1)), rng.randint(0, max(0, len(other) - 1))
        chosen = [*_spaced(one[:start]), *other[end:]]
    elif way < 0.75:
        start = rng.randint(0, len(one) // 2)
        chosen = one[start : start + max(1, len(one) // 2)]
    else:
        chosen = [unit for unit in one if rng.random() >= _DROPPED] or one
    return "".join(chosen).strip()


def _exchanged(text: list[str], words: Sequence[str], share: float, rng: random.Random) -> str:
    """Any word may come, however odd: near neighbours of the word that was there taught a student less than words at random."""
    return "".join(_LETTERS.sub(rng.choice(words), unit, count=1) if rng.random() < share else unit for unit in text).strip()


def _spaced(words: list[str]) -> list[str]:
    """The last word of a text has no space after it."""
    if len(words[-1]) > 1 and not words[-1][-1].isspace():
        return [*words[:-1], f"{words[-1]} "]
    return words
