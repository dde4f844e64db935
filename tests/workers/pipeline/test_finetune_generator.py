"""Stage 2 on tiny causal models."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from app.contracts.rows import Row
from app.contracts.spec import GeneratorSpec, JobSpec
from tests.workers.conftest import MemoryRecorder, StageResult
from tests.workers.tiny import save_gpt2
from workers.pipeline import finetune_generator as stage
from workers.pipeline.finetune_generator import GeneratorInputs, GeneratorMetrics, finetune_generator
from workers.training.causal import load_generator, prompt_ids
from workers.training.prompts import prompt
from workers.training.split import Split

CPU = torch.device("cpu")


def curve(recorder: MemoryRecorder, series: str = "validation_perplexity") -> list[tuple[float, float]]:
    """Step and value of each point."""
    return [(data["step"], data["value"]) for type, data in recorder.events if type == "metric" and data["series"] == series]


def told(recorder: MemoryRecorder) -> list[float]:
    return [value for _, value in curve(recorder)]


def test_perplexity_falls(generator: StageResult[GeneratorMetrics], spec: JobSpec) -> None:
    perplexities = told(generator.recorder)
    assert len(perplexities) == spec.generator.epochs == generator.metrics.epochs == generator.metrics.kept_epoch
    assert perplexities[-1] == generator.metrics.validation_perplexity
    assert perplexities[-1] < 0.5 * perplexities[0]
    assert generator.recorder.steps[-1] == (spec.generator.epochs, spec.generator.epochs)


def test_the_training_loss_is_told_in_few_points(generator: StageResult[GeneratorMetrics], spec: JobSpec) -> None:
    points = curve(generator.recorder, "training_loss")
    steps = [step for step, _ in points]
    assert steps == sorted(set(steps))
    assert steps[-1] == spec.generator.epochs
    assert 10 < len(points) <= 50 < len(generator.recorder.steps)
    assert points[-1][1] < 0.7 * points[0][1]


@pytest.mark.parametrize("method", ["full", "lora"])
def test_it_goes_back_to_the_best_epoch_once_perplexity_rises(
    method: str, split: Split, spec: JobSpec, generator_model: Path, tmp_path: Path
) -> None:
    """Five rows are soon known by heart."""
    few = replace(split, train=split.train[:5])
    long = spec.generator.model_copy(update={"epochs": 40, "method": method, "learning_rate": 2e-2})
    recorder = MemoryRecorder()
    metrics = finetune_generator(GeneratorInputs(few, generator_model, long), tmp_path / "long", recorder)
    perplexities = told(recorder)
    assert 1 < len(perplexities) == metrics.epochs == metrics.kept_epoch + 1 < 40
    assert perplexities[-1] >= perplexities[-2] == min(perplexities) == metrics.validation_perplexity
    # What is saved says the same on the validation rows.
    model, tokenizer = load_generator(tmp_path / "long", torch.float32)
    examples = [stage._example(tokenizer, row, long) for row in split.validation]
    assert stage._perplexity(model, examples, long, CPU) == pytest.approx(metrics.validation_perplexity, rel=1e-3)


@pytest.mark.parametrize(("epochs_worth", "evaluations"), [(0.5, [0.5]), (1.5, [1.0, 1.5]), (99.0, [1.0, 2.0, 3.0])])
def test_it_learns_from_no_more_tokens_than_asked(
    epochs_worth: float, evaluations: list[float], split: Split, spec: JobSpec, generator_model: Path, tmp_path: Path
) -> None:
    _, tokenizer = load_generator(generator_model, torch.float32)
    rows = replace(split, train=split.train[: 8 * spec.generator.batch_size])
    tokens = sum(len(stage._example(tokenizer, row, spec.generator).ids) for row in rows.train)
    limited = spec.generator.model_copy(update={"epochs": 3, "max_train_tokens": int(epochs_worth * tokens) + 1})
    recorder = MemoryRecorder()
    metrics = finetune_generator(GeneratorInputs(rows, generator_model, limited), tmp_path, recorder)
    passes = len(rows.train) // spec.generator.batch_size
    assert [step for step, _ in curve(recorder)] == evaluations
    assert recorder.steps[-1] == (metrics.epochs, metrics.epochs) == (evaluations[-1], evaluations[-1])
    assert len(recorder.steps) == evaluations[-1] * passes


def test_the_perplexity_is_that_of_the_texts_given_their_prompts(
    generator: StageResult[GeneratorMetrics], split: Split, spec: JobSpec
) -> None:
    model, tokenizer = load_generator(generator.folder, torch.float32)
    total, tokens = 0.0, 0
    for row in split.validation:
        start = prompt_ids(tokenizer, f"Topic: {row.label.replace('_', ' ')}\nText:")
        text = [*tokenizer(f" {row.text}")["input_ids"], tokenizer.eos_token_id]
        with torch.inference_mode():
            logits = model.eval()(torch.tensor([[*start, *text]])).logits[0]
        total += F.cross_entropy(logits[len(start) - 1 : -1], torch.tensor(text), reduction="sum").item()
        tokens += len(text)
    assert generator.metrics.validation_perplexity == pytest.approx(torch.tensor(total / tokens).exp().item(), rel=1e-3)


def test_the_label_steers_what_is_written(generator: StageResult[GeneratorMetrics]) -> None:
    model, tokenizer = load_generator(generator.folder, torch.float32)

    def likelihood(label: str, text: str) -> float:
        start, ids = prompt_ids(tokenizer, prompt(label, "label")), tokenizer(text)["input_ids"]
        with torch.inference_mode():
            logits = model.eval()(torch.tensor([[*start, *ids]])).logits[0, len(start) - 1 : -1]
        return -F.cross_entropy(logits, torch.tensor(ids)).item()

    assert likelihood("pin_change", " secret digits") > likelihood("card_arrival", " secret digits")
    assert likelihood("card_arrival", " courier envelope") > likelihood("pin_change", " courier envelope")


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_what_is_trained(kind: str, method: str, generator_model: Path, split: Split, spec: JobSpec, tmp_path: Path) -> None:
    source = generator_model if kind == "llama" else save_gpt2(tmp_path / "gpt2")
    out = tmp_path / "out"
    some = spec.generator.model_copy(update={"method": method, "lora_rank": 2, "epochs": 1})
    metrics = finetune_generator(GeneratorInputs(split, source, some), out, MemoryRecorder())
    before, after = (load_generator(folder, torch.float32)[0] for folder in (source, out))
    assert {name: tensor.shape for name, tensor in before.state_dict().items()} == {
        name: tensor.shape for name, tensor in after.state_dict().items()
    }
    assert metrics.parameters == sum(parameter.numel() for parameter in before.parameters())
    same_embeddings = torch.equal(before.get_input_embeddings().weight, after.get_input_embeddings().weight)
    same_layers = [
        all(torch.equal(*pair) for pair in zip(left.parameters(), right.parameters(), strict=True))
        for left, right in zip(_layers(before), _layers(after), strict=True)
    ]
    assert not any(same_layers)
    assert same_embeddings == (method == "lora")
    assert (metrics.trained_parameters < metrics.parameters) == (method == "lora")


def _layers(model: Any) -> Any:
    return next(module for module in model.base_model.children() if isinstance(module, torch.nn.ModuleList))


@pytest.mark.parametrize("conditioning", ["label", "none"])
def test_an_example_is_prompt_text_and_end(conditioning: Any, generator_model: Path) -> None:
    _, tokenizer = load_generator(generator_model, torch.float32)
    example = stage._example(tokenizer, Row("my card", "card_arrival"), GeneratorSpec(conditioning=conditioning))
    written = tokenizer.decode(example.ids)
    wanted = "Topic: card arrival\nText:" if conditioning == "label" else "Text:"
    assert written == f"{wanted} my card<|end|>"
    assert tokenizer.decode(example.ids[: example.prompt_tokens]) == wanted


def test_a_row_that_is_too_long_is_cut_and_has_no_end(generator_model: Path) -> None:
    _, tokenizer = load_generator(generator_model, torch.float32)
    cut = stage._example(tokenizer, Row("card " * 50, "card_arrival"), GeneratorSpec(max_tokens=40))
    assert len(cut.ids) == 39
    assert tokenizer.eos_token_id not in cut.ids
    tight = stage._example(tokenizer, Row("card " * 50, "a label of many words " * 9), GeneratorSpec(max_tokens=8))
    assert len(tight.ids) == tight.prompt_tokens + 1  # there is always something to learn


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_only_the_texts_carry_loss(kind: str, generator_model: Path, tmp_path: Path) -> None:
    """Against the whole sequences' logits: padding and prompts left out, each other token once."""
    model, _ = load_generator(generator_model if kind == "llama" else save_gpt2(tmp_path), torch.float32)
    examples = [stage._Example([5, 6, 7, 8, 9], 3), stage._Example([10, 11, 12], 1), stage._Example([4] * 9, 8)]
    with torch.inference_mode():
        loss, tokens = stage._loss(model.eval(), examples, CPU)
        wanted = 0.0
        for example in examples:
            logits = model(torch.tensor([example.ids])).logits[0]
            wanted += F.cross_entropy(
                logits[example.prompt_tokens - 1 : -1], torch.tensor(example.ids[example.prompt_tokens :]), reduction="sum"
            ).item()
    assert tokens == 2 + 2 + 1
    assert loss.item() == pytest.approx(wanted, rel=1e-4)


def test_without_conditioning_the_label_is_never_read(split: Split, spec: JobSpec, generator_model: Path, tmp_path: Path) -> None:
    """Other labels for the same texts give the same weights."""
    free = spec.generator.model_copy(update={"conditioning": "none", "epochs": 1})
    other = replace(split, train=[Row(row.text, "pin_change") for row in split.train])
    weights = []
    for number, part in enumerate([split, other]):
        finetune_generator(GeneratorInputs(part, generator_model, free), tmp_path / str(number), MemoryRecorder())
        weights.append(load_generator(tmp_path / str(number), torch.float32)[0].state_dict())
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


def test_a_perplexity_that_is_not_finite_ends_the_stage(split: Split, spec: JobSpec, generator_model: Path, tmp_path: Path) -> None:
    wild = spec.generator.model_copy(update={"learning_rate": 1e25, "epochs": 1})
    with pytest.raises(FloatingPointError, match=r"lower spec\.generator\.learning_rate"):
        finetune_generator(GeneratorInputs(split, generator_model, wild), tmp_path / "out", MemoryRecorder())
    assert not (tmp_path / "out").exists()
