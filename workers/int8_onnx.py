"""BERT encoders that are shipped as int8 ONNX -> an ordinary folder of safetensors weights, which can be finetuned."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from transformers import AutoTokenizer, BertConfig, BertModel

_Weights = npt.NDArray[np.float32]
_QUANTIZED, _SCALE, _ZERO_POINT = "_quantized", "_scale", "_zero_point"  # how onnxruntime's quantiser names the parts of a tensor


def convert_int8_bert(weights: Path, target: Path) -> None:
    """Reads `weights` and the configuration and tokenizer beside it; writes the encoder in fp32 and its tokenizer to `target`.

    The graph is one that torch exported and `onnxruntime.quantization.quantize_dynamic` quantised. Raises `RuntimeError` if it lacks a
    weight of the encoder, or holds one too many.
    """
    encoder = BertModel(BertConfig.from_pretrained(weights.parent, local_files_only=True))
    state = {name: torch.from_numpy(values) for name, values in _dequantized(onnx.load(weights)).items()}
    # The graph has no pooler, and nothing here reads one. But a folder without it would be filled up at random at every load.
    state |= {name: torch.zeros_like(values) for name, values in encoder.state_dict().items() if name.startswith("pooler.")}
    encoder.load_state_dict(state)
    encoder.save_pretrained(target)
    AutoTokenizer.from_pretrained(weights.parent, local_files_only=True, trust_remote_code=False).save_pretrained(target)


def _dequantized(model: onnx.ModelProto) -> dict[str, _Weights]:
    """Weights by their names in torch: w = (q - zero point) * scale, with one scale for a table or for each output of a linear layer."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}

    def real(quantized: str) -> _Weights:
        base = quantized.removesuffix(_QUANTIZED)
        q, zero_point, scale = (stored[base + part].astype(np.float32) for part in (_QUANTIZED, _ZERO_POINT, _SCALE))
        return (q - zero_point) * scale

    found = {name: values.copy() for name, values in stored.items() if name.endswith((".weight", ".bias"))}
    for node in model.graph.node:
        if node.op_type == "Gather" and node.input[0].endswith(_QUANTIZED):
            found[node.input[0].removesuffix(_QUANTIZED)] = real(node.input[0])
        elif node.op_type == "MatMulInteger":
            # The weight itself has lost its name; its node is called after the module, /encoder/layer.0/output/dense/MatMul_quant.
            module = node.name.removeprefix("/").rpartition("/")[0].replace("/", ".")
            found[f"{module}.weight"] = np.ascontiguousarray(real(node.input[1]).T)  # torch keeps (out, in)
    return found
