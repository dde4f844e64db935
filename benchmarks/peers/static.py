"""Model2Vec: a static model distilled from the encoder, then its own classifier on top, all at their defaults."""

import time
from pathlib import Path

from model2vec.distill import distill
from model2vec.train import StaticModelForClassification

from benchmarks.peers.protocol import PeerAnswer, PeerRequest, folder_bytes, timed_answers


def model2vec(request: PeerRequest) -> PeerAnswer:
    """Embeddings and head are trained; a tenth of the rows, which the library splits off itself, stops the training."""
    start = time.perf_counter()
    static = distill(request.encoder, device="cpu")
    model = StaticModelForClassification.from_static_model(model=static)
    model.fit(request.texts, request.labels, device="cpu", random_seed=request.seed)
    seconds = time.perf_counter() - start
    pipeline = model.to_pipeline()
    answers, rate = timed_answers(lambda texts: pipeline.predict(texts, use_multiprocessing=False), request.test)
    saved = Path(request.scratch) / "model2vec"
    pipeline.save_pretrained(str(saved))
    return PeerAnswer(answers, sum(parameter.numel() for parameter in model.parameters()), folder_bytes(saved), seconds, rate)
