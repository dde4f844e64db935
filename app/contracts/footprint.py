"""How much memory and room the stages of a job take: a simple model, for telling beforehand what cannot fit.

It errs on the high side, and is scaled by the peaks of earlier jobs on the service where those are known.
"""

from app.contracts.estimates import CHARS_PER_TOKEN, DataFigures, Workload, parameters_of, workload
from app.contracts.spec import JobSpec
from app.contracts.stages import Stage

PROCESS = 500e6  # a worker that has only imported its libraries; measured
TRAINED = 16  # bytes a trained parameter: weight, gradient and AdamW's two moments, in fp32
FROZEN = 4
LOADING = 4  # bytes a parameter for the second copy while weights are converted or packed
LORA_SHARE = 0.06  # of the parameters are trained at rank 16 on all linear layers, and grow with the rank
# Bytes a token of a batch and parameter, that a training step keeps for its backward pass. After Korthikanti et al. 2022 (34 bytes and the
# attention's share a token, layer and width in half precision, twice that in fp32), where layers times width of the usual
# encoders and language models, from MiniLM to BERT-large, is about 1e-4 of their parameters.
ACTIVATION = 80e-4
READING = 8e-4  # the same without a backward pass: a few layers' worth at a time
# Bytes a token of a place and parameter: keys, values and logits. From the peaks of `docs/recipe.md` at 64 and 256 places: 8.4 MB each.
KV_CACHE = 4.6e-4
VOCABULARY = 50_000  # of a generator; its logits, their gradient and a copy, in fp32, outweigh its layers
LOGITS = 3 * 4 * VOCABULARY
TEXT_OVERHEAD = 60  # bytes of JSON around a text
ROUGH_TOKENS = 2.0  # the longest batch against the mean text
TOKENIZER = 2.5e6
STUDENT_FILES = 3e6  # ONNX beside its tokenizer, and the report
RUNS = 3  # students that the report compares
DROPPED = 1.5  # sampled texts for each one kept


def peak_bytes(spec: JobSpec, data: DataFigures) -> dict[Stage, int]:
    """Largest memory of the process that runs the stage; with a GPU, of the GPU for all but a few hundred megabytes."""
    amount = workload(spec, data)
    teacher, generator = parameters_of(spec.teacher.model, "teacher"), parameters_of(spec.generator.model, "generator")

    def batch(size: int, limit: int, prompt: int = 0) -> float:
        """Tokens of one of the longer batches."""
        return size * min(ROUGH_TOKENS * amount.tokens + prompt, limit)

    views = 2 if spec.teacher.contrastive_weight else 1
    step = views * batch(spec.teacher.batch_size, spec.teacher.max_tokens)
    learned = batch(spec.generator.batch_size, spec.generator.max_tokens, 8)
    lora = min(1.0, LORA_SHARE * spec.generator.lora_rank / 16)
    trained = TRAINED if spec.generator.method == "full" else FROZEN + lora * TRAINED
    places = spec.generate.batch_size * (spec.generate.max_new_tokens + 8)
    reading = LOADING * teacher + FROZEN * teacher + batch(spec.label.batch_size, spec.teacher.max_tokens) * teacher * READING
    texts = _transfer_texts(amount)
    transfer = texts * (8 * amount.tokens + 200 + 8 * _classes(data))  # ids, text and two teachers' logits
    work = {
        Stage.FINETUNE_TEACHER: (TRAINED + LOADING) * teacher + step * teacher * ACTIVATION,
        Stage.FINETUNE_GENERATOR: (trained + LOADING) * generator + learned * (generator * ACTIVATION + LOGITS),
        Stage.GENERATE: (FROZEN + LOADING) * generator + places * generator * KV_CACHE,
        Stage.LABEL: reading + 3 * transfer,
        Stage.DISTIL: (FROZEN + LOADING) * teacher + RUNS * spec.distil.max_parameters * TRAINED * 8 + 3 * transfer,
        Stage.PUBLISH: reading + RUNS * spec.distil.max_parameters * FROZEN,
    }
    return {stage: round(PROCESS + extra) for stage, extra in work.items()}


def artefact_bytes(spec: JobSpec, data: DataFigures) -> dict[Stage, int]:
    """What each stage stores."""
    amount = workload(spec, data)
    lineages = 2 if amount.refit_rows else 1
    chars = min(data.mean_chars, CHARS_PER_TOKEN * spec.generate.max_new_tokens) + TEXT_OVERHEAD
    sampled = DROPPED * amount.generated
    students = RUNS + lineages - 1 + len(spec.label.curve)
    classes = _classes(data)
    stored = {
        Stage.FINETUNE_TEACHER: lineages * (FROZEN * parameters_of(spec.teacher.model, "teacher") + TOKENIZER),
        # In half precision where the worker's hardware has it.
        Stage.FINETUNE_GENERATOR: FROZEN * parameters_of(spec.generator.model, "generator") + 2 * TOKENIZER,
        Stage.GENERATE: 2 * sampled * chars,  # the shards, and all of them together
        Stage.LABEL: _transfer_texts(amount) * (chars + 2 * 4 * lineages * classes) + sampled * (chars + 30 * min(classes, 10)),
        Stage.DISTIL: students * FROZEN * spec.distil.max_parameters + TOKENIZER,
        Stage.PUBLISH: FROZEN * spec.distil.max_parameters + STUDENT_FILES,
    }
    return {stage: round(size) for stage, size in stored.items()}


def _classes(data: DataFigures) -> int:
    return max(2, data.classes)


def _transfer_texts(amount: Workload) -> float:
    return amount.texts * (1 + amount.recombined) + amount.holdout
