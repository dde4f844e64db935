"""SetFit (Tunstall et al. 2022) at its defaults, and its own distillation into an encoder of half the layers."""

import time
from pathlib import Path
from typing import Any

from datasets import Dataset
from sentence_transformers import SentenceTransformer
from setfit import DistillationTrainer, SetFitModel, Trainer, TrainingArguments
from sklearn.linear_model import LogisticRegression
from torch.nn import ModuleList

from benchmarks.peers.protocol import PeerAnswer, PeerRequest, folder_bytes, timed_answers


def setfit(request: PeerRequest) -> dict[str, PeerAnswer]:
    """`setfit`, and if it is asked for `setfit_distilled`: its student learns on the seed rows, as SetFit makes no texts of its own."""
    names = sorted(set(request.labels))
    rows = {"text": request.texts, "label": [names.index(label) for label in request.labels]}
    start = time.perf_counter()
    model = SetFitModel.from_pretrained(request.encoder, labels=names, device="cpu", local_files_only=True)
    Trainer(model=model, args=_arguments(request, "setfit"), train_dataset=Dataset.from_dict(rows)).train()
    seconds = time.perf_counter() - start
    answers = {"setfit": _answer(model, request, "setfit", seconds)}
    if "setfit_distilled" in request.methods:
        start = time.perf_counter()
        student = SetFitModel(model_body=_lower_half(request.encoder), model_head=LogisticRegression(), labels=names)
        unlabelled = Dataset.from_dict({"text": request.texts})
        arguments = _arguments(request, "setfit_distilled")
        DistillationTrainer(teacher_model=model, student_model=student, args=arguments, train_dataset=unlabelled).train()
        # Its teacher has to be trained too before there is such a student.
        answers["setfit_distilled"] = _answer(student, request, "setfit_distilled", seconds + time.perf_counter() - start)
    return answers


def _arguments(request: PeerRequest, name: str) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(Path(request.scratch) / name),
        max_steps=request.options.setfit_steps,
        seed=request.seed,
        report_to="none",
        save_strategy="no",
        show_progress_bar=False,
    )


def _lower_half(encoder: str) -> SentenceTransformer:
    body = SentenceTransformer(encoder, device="cpu", local_files_only=True)
    network: Any = body[0].auto_model
    layers = network.encoder.layer
    network.encoder.layer = ModuleList(layers[: max(1, len(layers) // 2)])
    network.config.num_hidden_layers = len(network.encoder.layer)
    return body


def _answer(model: SetFitModel, request: PeerRequest, name: str, seconds: float) -> PeerAnswer:
    answers, rate = timed_answers(lambda texts: model.predict(texts, show_progress_bar=False), request.test)
    saved = Path(request.scratch) / f"{name}-saved"
    model.save_pretrained(str(saved))
    head = model.model_head
    settings = {"steps at most": request.options.setfit_steps}
    parameters = sum(parameter.numel() for parameter in model.model_body.parameters()) + head.coef_.size + head.intercept_.size
    return PeerAnswer(answers, int(parameters), folder_bytes(saved), seconds, rate, {"settings": settings})
