"""The methods side by side, in the order of the table."""

from app.contracts.students import STUDENTS

KINDS = tuple(STUDENTS)

OURS: dict[str, str] = {
    "teacher": "our teacher: the encoder, finetuned",
    **{kind: f"our student, `{kind}`" for kind in KINDS},
    "seed_only": "the same student on the labels of the seed rows, without a teacher",
    "no_generation": "the same student, distilled on the seed rows without generated texts",
    "ceiling": "the same student, distilled with as many real unlabelled texts in place of the generated ones",
}
"""`seed_only`, `no_generation` and `ceiling` are of the preset's own kind of student."""

PEERS: dict[str, str] = {
    "setfit": "SetFit on the same encoder, its defaults",
    "setfit_distilled": "SetFit's own distillation, into the lower half of the encoder's layers, on the seed rows",
    "embeddings": "logistic regression on embeddings of the frozen encoder, C by cross-validation",
    "model2vec": "Model2Vec: a static model of the same encoder, and its own classifier, its defaults",
    "model2vec_linear": "the same static model, as it is, and a logistic regression, C by cross-validation",
    "fasttext": "fastText, supervised, its defaults",
    "fasttext_autotuned": "fastText, its autotuning on a validation part; what it found then trains on all rows",
    "tfidf": "TF-IDF of word uni- and bigrams, logistic regression",
}

ENCODING_PEERS = {"setfit", "setfit_distilled", "embeddings", "model2vec", "model2vec_linear"}
"""Those that are given the encoder."""

PEER_VERSIONS = dict.fromkeys(PEERS, 1)
"""Raised when the peer's code in `benchmarks/peers` changes what it produces, so that old figures are not taken for new ones."""

_GROUPS = {"all": (*OURS, *PEERS), "ours": tuple(OURS), "peers": tuple(PEERS), "students": KINDS}


def chosen(names: list[str]) -> tuple[list[str], list[str]]:
    """The methods of ours and of the peers that the names and groups stand for. Raises `ValueError` for an unknown one."""
    wanted: set[str] = set()
    for name in names:
        if name not in _GROUPS and name not in OURS and name not in PEERS:
            raise ValueError(f"There is no method {name!r}; there are {', '.join((*_GROUPS, *OURS, *PEERS))}.")
        wanted |= set(_GROUPS.get(name, (name,)))
    return [name for name in OURS if name in wanted], [name for name in PEERS if name in wanted]
