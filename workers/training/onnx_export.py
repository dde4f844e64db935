"""Student -> ONNX, and the proof that both say the same."""

import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from app.contracts.students import ONNX_INPUT, ONNX_OUTPUT
from workers.students.base import Student
from workers.training.batching import pad


class ParityError(Exception):
    """ONNX and torch disagree by more than the tolerance, or on a label."""


def export_onnx(student: Student, path: Path) -> None:
    """One signature for all students: `input_ids` (B, T) int64 -> `logits` (B, C) float32, both axes free."""
    example = torch.ones((2, 5), dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        # The newer exporter (dynamo=True) unrolls an LSTM to the example's length from the second export of a process on.
        torch.onnx.export(
            student,
            (example,),
            path,
            input_names=[ONNX_INPUT],
            output_names=[ONNX_OUTPUT],
            dynamic_axes={ONNX_INPUT: {0: "batch", 1: "tokens"}, ONNX_OUTPUT: {0: "batch"}},
            dynamo=False,
        )


def onnx_logits(path: Path, ids: list[list[int]], pad_id: int, batch_size: int = 64) -> Tensor:
    """(N, C) from onnxruntime on one thread, in the order of `ids`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    parts = [
        session.run([ONNX_OUTPUT], {ONNX_INPUT: pad(ids[start : start + batch_size], pad_id).numpy()})[0]
        for start in range(0, len(ids), batch_size)
    ]
    return torch.from_numpy(np.concatenate(parts))


def prove_agreement(torch_logits: Tensor, other: Tensor, least: float) -> float:
    """The share of equal labels. Raises `ParityError` if it is below `least`, or if a logit is not finite."""
    agreement = (torch_logits.argmax(-1) == other.argmax(-1)).double().mean().item()
    if agreement < least or not torch.isfinite(other).all():
        raise ParityError(
            f"With its table in int8 the student answers {100 * agreement:.2f} % of {len(other)} texts as before (needed: {100 * least:g}) "
            "and is not published. Set spec.publish.precision to fp16, or raise spec.distil.max_bytes."
        )
    return agreement


def prove_parity(torch_logits: Tensor, other: Tensor, tolerance: float) -> float:
    """The largest |logit difference|. Raises `ParityError` if it exceeds `tolerance`, or if any label differs."""
    difference = (torch_logits - other).abs().max().item()
    disagreements = int((torch_logits.argmax(-1) != other.argmax(-1)).sum())
    if not difference <= tolerance or disagreements:  # `not <=` refuses NaN too
        raise ParityError(
            f"ONNX and torch differ by up to {difference:.2e} in a logit (allowed: {tolerance:.0e}) and in {disagreements} of "
            f"{len(other)} labels of the holdout; the student is not published."
        )
    return difference
