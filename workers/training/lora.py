"""Low-rank adaptation (Hu et al. 2022): a few trained parameters beside frozen weights, merged into them at the end."""

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel


def add_lora(model: PreTrainedModel, rank: int) -> PeftModel:
    """Freezes `model` and puts adapters on all its linear layers, in fp32 whatever the model's own precision.

    Training then updates a thirtieth of the weights, and neither gradients nor optimizer state are kept for the others; docs/recipe.md has
    what that saves on a CPU.
    """
    adapted = get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"))
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    assert isinstance(adapted, PeftModel)  # not the mixed kind, which get_peft_model can return too
    return adapted


def merge_lora(adapted: PeftModel) -> PreTrainedModel:
    """The plain model with the adapters multiplied in, in fp32."""
    merged: PreTrainedModel = torch.nn.Module.to(adapted, torch.float32).merge_and_unload()
    return merged
