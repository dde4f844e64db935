"""`python -m benchmarks.peers request.json answers.json`, run by the bench in the peers' environment."""

import os
import sys
from pathlib import Path

# Before the libraries read them: a peer works from local files alone, and reports to nobody.
os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", HF_DATASETS_OFFLINE="1", DO_NOT_TRACK="1")

from benchmarks.peers.protocol import PeerAnswer, PeerRequest, write_answers


def main(request: Path, answers: Path) -> None:
    write_answers(_run(PeerRequest.read(request)), answers)


def _run(request: PeerRequest) -> dict[str, PeerAnswer]:
    # Each imports its library only when asked for: torch alone takes seconds.
    answers: dict[str, PeerAnswer] = {}
    for method in request.methods:
        if method in answers:
            continue
        match method:
            case "tfidf":
                from benchmarks.peers.linear import tfidf

                answers[method] = tfidf(request)
            case "embeddings":
                from benchmarks.peers.linear import embeddings

                answers[method] = embeddings(request)
            case "model2vec_linear":
                from benchmarks.peers.linear import model2vec_linear

                answers[method] = model2vec_linear(request)
            case "model2vec":
                from benchmarks.peers.static import model2vec

                answers[method] = model2vec(request)
            case "fasttext" | "fasttext_autotuned":
                from benchmarks.peers.subwords import fasttext_supervised

                answers[method] = fasttext_supervised(request, autotuned=method == "fasttext_autotuned")
            case "setfit" | "setfit_distilled":
                from benchmarks.peers.contrastive import setfit

                answers |= setfit(request)
            case _:
                raise ValueError(f"There is no peer {method!r}.")
    return answers


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
