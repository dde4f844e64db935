"""Stage 2: finetune a causal language model on the seed rows, so that it writes texts like them."""

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from app.contracts.rows import Row
from app.contracts.spec import GeneratorSpec
from workers.training.batching import length_sorted_batches, micro_batches, pad
from workers.training.causal import load_generator, prompt_ids
from workers.training.checkpointing import Checkpoints
from workers.training.curves import MeanLoss, tell_point
from workers.training.devices import autocast, pick_device, seed_everything, use_bf16
from workers.training.lora import add_lora, merge_lora
from workers.training.prompts import prompt
from workers.training.recorder import Recorder, State
from workers.training.resumable import EpochOrder, Training
from workers.training.schedule import warmup_cosine
from workers.training.split import Split

_IGNORED = -100
_STATE_FORMAT = "finetune_generator/2"


@dataclass(frozen=True)
class GeneratorInputs:
    split: Split
    model: Path
    spec: GeneratorSpec
    shrink: int = 1
    """Batches are read in so many parts."""


@dataclass(frozen=True)
class GeneratorMetrics:
    """`epochs`: trained, and `kept_epoch`: gone back to, both in passes over the rows. `validation_perplexity`: at the kept epoch."""

    epochs: float
    kept_epoch: float
    validation_perplexity: float
    parameters: int
    trained_parameters: int


def finetune_generator(inputs: GeneratorInputs, out: Path, recorder: Recorder) -> GeneratorMetrics:
    """Writes the finetuned model and its tokenizer to `out`. The prompt carries no loss: only writing texts is learned.

    Training ends early, and goes back to the best epoch, once the validation perplexity rises: from then on the model learns its rows by
    heart. Raises `FloatingPointError` if the loss is not finite.
    """
    spec, split = inputs.spec, inputs.split
    seed_everything(spec.seed)
    device = pick_device()
    half = use_bf16(spec.precision, device)
    # Weights that are not trained can lie in half precision; trained ones need fp32, or small updates are lost.
    model, tokenizer = load_generator(inputs.model, torch.bfloat16 if half and spec.method == "lora" else torch.float32)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    torch.nn.Module.to(model, device)  # transformers' own override is not typed
    adapted = add_lora(model, spec.lora_rank) if spec.method == "lora" else None
    train = [_example(tokenizer, row, spec) for row in split.train]
    validation = [_example(tokenizer, row, spec) for row in split.validation]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    steps_an_epoch = -(-len(train) // spec.batch_size)
    affordable = spec.max_train_tokens / sum(len(example.ids) for example in train)
    steps = max(1, int(min(spec.epochs, affordable) * steps_an_epoch))
    optimizer = torch.optim.AdamW(trained, lr=spec.learning_rate, weight_decay=spec.weight_decay, fused=True)
    schedule = warmup_cosine(optimizer, steps, 0.1)
    order = EpochOrder([len(example.ids) for example in train], spec.batch_size, random.Random(spec.seed))
    training = Training(model, optimizer, schedule, order)
    kept = [torch.empty_like(parameter) for parameter in trained]
    curve = MeanLoss(steps)
    best, kept_epoch, done = math.inf, 0.0, 0
    total = round(steps / steps_an_epoch, 2)

    def passes() -> float:
        return round(done / steps_an_epoch, 2)

    def tell() -> None:
        recorder.progress(passes(), total)

    def state() -> State:
        known = kept if kept_epoch else []
        return {"best": best, "kept_epoch": kept_epoch, "kept": known, "done": done, "curve": curve.state(), "training": training.state()}

    checkpoints = Checkpoints(recorder, _STATE_FORMAT)
    if (found := checkpoints.take()) is not None:
        best, kept_epoch, done = found["best"], found["kept_epoch"], found["done"]
        if kept_epoch:
            _copy(found.pop("kept"), kept)
        curve.restore(found["curve"])
        training.restore(found["training"])
        tell()
    while done < steps or order.taken:
        model.train()
        for batch in itertools.islice(order.rest(), steps - done):
            optimizer.zero_grad()
            loss, tokens = _accumulate(model, [train[index] for index in batch], spec, device, inputs.shrink)
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            done += 1
            if (point := curve.add(done, loss, tokens)) is not None:
                tell_point(recorder, "training_loss", passes(), total, point)
            checkpoints.offer(state)
            tell()
        order.end()
        perplexity, epoch = _perplexity(model, validation, spec, device, inputs.shrink), passes()
        if not math.isfinite(perplexity):
            raise FloatingPointError(
                f"The generator's perplexity became {perplexity} in epoch {epoch:g}; lower spec.generator.learning_rate."
            )
        tell_point(recorder, "validation_perplexity", epoch, total, perplexity)
        if perplexity >= best:
            break
        best, kept_epoch = perplexity, epoch
        _copy(trained, kept)
        checkpoints.offer(state)
    _copy(kept, trained)
    if adapted is not None:
        model = merge_lora(adapted)
    # Sampling runs in bf16 where the hardware has it; storing that halves the artefact.
    torch.nn.Module.to(model, torch.bfloat16 if half else torch.float32)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return GeneratorMetrics(passes(), kept_epoch, best, parameters, sum(parameter.numel() for parameter in trained))


@torch.no_grad()
def _copy(source: Sequence[torch.Tensor], target: Sequence[torch.Tensor]) -> None:
    """In place: with every weight trained, another copy would be half a gigabyte."""
    for one, other in zip(source, target, strict=True):
        other.copy_(one)


@dataclass(frozen=True)
class _Example:
    ids: list[int]
    prompt_tokens: int

    @property
    def learned_tokens(self) -> int:
        return len(self.ids) - self.prompt_tokens


def _example(tokenizer: PreTrainedTokenizerBase, row: Row, spec: GeneratorSpec) -> _Example:
    start = prompt_ids(tokenizer, prompt(row.label, spec.conditioning))
    text: list[int] = tokenizer(f" {row.text}", add_special_tokens=False)["input_ids"]
    room = spec.max_tokens - len(start) - 1
    ending = [tokenizer.eos_token_id] if len(text) <= room else []  # a cut text has not ended
    return _Example([*start, *text[: max(1, room)], *ending], len(start))


def _accumulate(
    model: PreTrainedModel, examples: list[_Example], spec: GeneratorSpec, device: torch.device, shrink: int
) -> tuple[float, int]:
    """Adds the gradients of the batch's mean loss a token; returns that loss, and how many tokens."""
    tokens, total = sum(example.learned_tokens for example in examples), 0.0
    for part in micro_batches(examples, spec.batch_size, shrink):
        with autocast(spec.precision, device):
            loss, _ = _loss(model, part, device)
        (loss / tokens).backward()
        total += loss.item()
    return total / tokens, tokens


def _loss(model: PreTrainedModel, examples: list[_Example], device: torch.device) -> tuple[torch.Tensor, int]:
    """Summed cross-entropy over the texts' tokens, and how many those are."""
    ids = pad([example.ids for example in examples], 0).to(device)
    targets = torch.full_like(ids, _IGNORED)
    mask = torch.zeros_like(ids)
    for position, example in enumerate(examples):
        targets[position, example.prompt_tokens : len(example.ids)] = ids[position, example.prompt_tokens : len(example.ids)]
        mask[position, : len(example.ids)] = 1
    hidden = model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state[:, :-1]
    targets = targets[:, 1:]
    kept = targets != _IGNORED  # the vocabulary is large: logits only where there is a loss
    logits = model.get_output_embeddings()(hidden[kept]).float()
    return F.cross_entropy(logits, targets[kept], reduction="sum"), sum(example.learned_tokens for example in examples)


def _perplexity(model: PreTrainedModel, examples: list[_Example], spec: GeneratorSpec, device: torch.device, shrink: int = 1) -> float:
    model.eval()
    total, tokens = 0.0, 0
    for batch in length_sorted_batches([len(example.ids) for example in examples], max(1, spec.batch_size // shrink)):
        with torch.inference_mode(), autocast(spec.precision, device):
            loss, count = _loss(model, [examples[index] for index in batch], device)
        total, tokens = total + float(loss), tokens + count
    return math.exp(min(total / max(1, tokens), 700.0))
