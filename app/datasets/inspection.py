"""What is odd about a dataset but no reason to refuse it: each function gives a list of warnings, empty if all is well."""

from collections import Counter, defaultdict

from app.contracts.spec import TeacherSpec
from app.datasets.raw import quote

IMBALANCE = 10
_PIECES_A_WORD = 1.35
_CHARS_A_PIECE = 8
"""Scripts without spaces have no words to count; no tokenizer of the kind used makes longer pieces on average."""

_SAMPLED_ROWS = 400
_GROUP_CHARS = 300
_LEAST_CHARS = 60
_FOREIGN_SHARE = 0.25


def conflict_warning(rows: list[tuple[int, str, str]], what: str) -> list[str]:
    """`rows`: number, text, label, without duplicates."""
    by_text: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for number, text, label in rows:
        by_text[text].append((number, label))
    conflicts = [found for found in by_text.values() if len(found) > 1]
    if not conflicts:
        return []
    examples = "; ".join(" and ".join(f"row {number} ({quote(label)})" for number, label in found[:3]) for found in conflicts[:5])
    texts = "texts stand" if len(conflicts) > 1 else "text stands"
    return [f"{len(conflicts)} {texts} under more than one label in the {what}: {examples}."]


def imbalance_warning(counts: Counter[str]) -> list[str]:
    """`counts`: rows by label."""
    (largest, most), *_rest = ordered = counts.most_common()
    smallest, fewest = ordered[-1]
    if most < IMBALANCE * fewest:
        return []
    return [
        f"The classes are heavily unbalanced: {quote(largest)} has {most} rows, {quote(smallest)} has {fewest}; "
        "scores on the small classes will be unsure."
    ]


def length_warning(texts: list[str]) -> list[str]:
    """An estimate, as the teacher's tokenizer is not at hand here."""
    limit = TeacherSpec().max_tokens
    longer = sum(max(len(text.split()) * _PIECES_A_WORD, len(text) / _CHARS_A_PIECE) > limit for text in texts)
    if not longer:
        return []
    verb = "texts are" if longer > 1 else "text is"
    return [
        f"{longer} {verb} longer than the {limit} word pieces that the teacher reads by default (an estimate); it reads their beginning."
    ]


def language_warning(texts: list[str]) -> list[str]:
    """Looks at a sample of the texts, in groups: a language cannot be told from a few words."""
    from py3langid import classify  # its model takes a second and 80 MB, which only uploads need

    step = max(1, len(texts) // _SAMPLED_ROWS)
    groups: list[str] = []
    group = ""
    for text in texts[::step]:
        group = f"{group} {text[:1000]}"
        if len(group) >= _GROUP_CHARS:
            groups.append(group)
            group = ""
    if not groups and len(group) >= _LEAST_CHARS:
        groups.append(group)
    languages = Counter(classify(joined)[0] for joined in groups)
    foreign = len(groups) - languages["en"]
    if not groups or foreign / len(groups) < _FOREIGN_SHARE:
        return []
    found = ", ".join(language for language, _count in languages.most_common(4) if language != "en")
    return [
        f"About {round(100 * foreign / len(groups))} % of the texts seem to be in another language than English ({found}), "
        "which the default teacher and generator do not know; choose models that do."
    ]
