"""Logistic regressions: on TF-IDF, on the embeddings of the frozen encoder, and on those of a static model of it."""

import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from benchmarks.peers.protocol import PeerAnswer, PeerRequest, folder_bytes, timed_answers

_STRENGTHS = (1.0, 10.0, 100.0)


def tfidf(request: PeerRequest) -> PeerAnswer:
    """Word uni- and bigrams, as the baseline of a job's report."""
    start = time.perf_counter()
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=1000, class_weight="balanced")
    )
    model.fit(request.texts, request.labels)
    seconds = time.perf_counter() - start
    answers, rate = timed_answers(model.predict, request.test)
    return PeerAnswer(answers, _size(model), len(pickle.dumps(model)), seconds, rate)


def embeddings(request: PeerRequest) -> PeerAnswer:
    """On the encoder's own vectors, which have length 1."""
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(request.encoder, device="cpu", local_files_only=True)
    start = time.perf_counter()
    model = _regression(encoder.encode(request.texts, show_progress_bar=False), request)
    seconds = time.perf_counter() - start
    answers, rate = timed_answers(lambda texts: model.predict(encoder.encode(texts, show_progress_bar=False)), request.test)
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    return PeerAnswer(answers, parameters + _size(model), folder_bytes(Path(request.encoder)) + len(pickle.dumps(model)), seconds, rate)


def model2vec_linear(request: PeerRequest) -> PeerAnswer:
    """On the vectors of a static model distilled from the encoder by Model2Vec, brought to length 1."""
    from model2vec.distill import distill

    start = time.perf_counter()
    static = distill(request.encoder, device="cpu")
    model = _regression(static.encode(request.texts), request)
    seconds = time.perf_counter() - start
    answers, rate = timed_answers(lambda texts: model.predict(static.encode(texts, use_multiprocessing=False)), request.test)
    saved = Path(request.scratch) / "static"
    static.save_pretrained(str(saved))
    return PeerAnswer(answers, static.embedding.size + _size(model), folder_bytes(saved) + len(pickle.dumps(model)), seconds, rate)


def _regression(vectors: Any, request: PeerRequest) -> Any:
    """C by cross-validation, as sklearn's default of 1 is far too strong on vectors of length 1."""
    fewest = int(np.unique(request.labels, return_counts=True)[1].min())
    if fewest >= 2:
        folds = StratifiedKFold(min(3, fewest), shuffle=True, random_state=request.seed)
        regression = LogisticRegressionCV(
            Cs=_STRENGTHS, l1_ratios=(0.0,), cv=folds, max_iter=1000, scoring="accuracy", use_legacy_attributes=False
        )
    else:
        regression = LogisticRegression(C=10, max_iter=1000)
    return make_pipeline(Normalizer(), regression).fit(vectors, request.labels)


def _size(model: Any) -> int:
    return int(model[-1].coef_.size + model[-1].intercept_.size)
