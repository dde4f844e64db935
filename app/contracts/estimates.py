"""How long a job will take: a simple cost model, scaled by what this job and earlier ones really took.

The model counts tokens and multiplies them by a cost. Only the ratio of the stages to each other matters much: the first figures that
a job's own stages give rescale all the rest. Waiting for a free worker is not counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from app.contracts.models import embedded_model
from app.contracts.spec import JobSpec, StudentKind
from app.contracts.stages import GRAPH, Stage, StageStatus

# Seconds, as measured on two CPU cores with AVX-512. A token costs in proportion to the model's parameters.
CHARS_PER_TOKEN = 4.5
TEACHER_TRAIN = 0.6e-3 / 22.7e6  # a token and parameter, forward and backward
TEACHER_FORWARD = 0.28e-3 / 22.7e6
GENERATOR_TRAIN = 5.5e-3 / 134.5e6
GENERATOR_SAMPLE = 3.0e-3 / 134.5e6  # a token kept; those of dropped texts and of padding are in it
STUDENT_TRAIN: dict[StudentKind, float] = {"cnn": 0.5e-5, "bilstm": 1.0e-5, "bag": 0.3e-5}  # a token
FIXED: dict[Stage, float] = {
    Stage.FINETUNE_TEACHER: 4.0,  # loading, and evaluating
    Stage.FINETUNE_GENERATOR: 6.0,
    Stage.GENERATE: 4.0,
    Stage.LABEL: 3.0,
    Stage.DISTIL: 15.0,  # the vectors of the whole vocabulary, from the teacher
    Stage.PUBLISH: 5.0,
}
UNKNOWN_PARAMETERS = {"teacher": 110e6, "generator": 124e6}  # of a local folder or a hub id: BERT-base, GPT-2
EARLIEST_PROGRESS = 0.2  # a first stage is a yardstick for the rest once so much of it is done


@dataclass(frozen=True)
class DataFigures:
    rows: int
    test_rows: int
    mean_chars: float
    classes: int


@dataclass(frozen=True)
class StageFigures:
    """Where a stage stands. `seconds` since it started, or that it took; `progress` from 0 to 1."""

    stage: Stage
    status: str
    seconds: float = 0.0
    progress: float = 0.0
    reused: bool = False


@dataclass(frozen=True)
class Workload:
    """How many texts there are to work on. `tokens`: of one text, on the mean; `recombined`: texts for each seed row and generated text."""

    tokens: float
    holdout: float
    seed_rows: float
    refit_rows: float
    generated: int
    recombined: float

    @property
    def texts(self) -> float:
        """Seed rows and generated texts."""
        return self.seed_rows + self.generated

    @property
    def read_again(self) -> float:
        """The published teacher reads the recombined texts not again, but the holdout."""
        return self.texts + self.holdout if self.refit_rows else 0.0


def workload(spec: JobSpec, data: DataFigures) -> Workload:
    tokens = data.mean_chars / CHARS_PER_TOKEN + 2
    holdout = data.test_rows or data.rows * spec.split.holdout_fraction
    seed_rows = data.rows if data.test_rows else data.rows - holdout
    refit = spec.split.refit and not data.test_rows  # the caller's own test rows are never learned from
    generated = spec.generate.quota(seed_rows, tokens)
    recombined = _recombined_share(spec, seed_rows + generated, tokens)
    return Workload(tokens, holdout, seed_rows, holdout if refit else 0.0, generated, recombined)


def teacher_rows(spec: JobSpec, seed_rows: float, refit_rows: float) -> float:
    """That the teacher learns from, each counted as often as it is seen. `refit_rows`: of the holdout; 0 if it learns from none of them."""
    again = spec.teacher.refit_epochs * (seed_rows + refit_rows) if refit_rows else 0.0
    return spec.teacher.epochs * seed_rows + again


def prior_seconds(spec: JobSpec, data: DataFigures) -> dict[Stage, float]:
    """Seconds each stage takes on the reference machine."""
    amount = workload(spec, data)
    tokens = amount.tokens
    teacher, generator = parameters_of(spec.teacher.model, "teacher"), parameters_of(spec.generator.model, "generator")
    prompt = 8 if spec.generator.conditioning == "label" else 1
    generator_tokens = amount.seed_rows * (1 - spec.split.validation_fraction) * min(tokens + prompt, spec.generator.max_tokens)
    learned_tokens = min(spec.generator.epochs * generator_tokens, spec.generator.max_train_tokens)
    reading = min(tokens, spec.teacher.max_tokens) * TEACHER_FORWARD * teacher  # one text, by the teacher
    work = {
        Stage.FINETUNE_TEACHER: _teacher_seconds(spec, amount.seed_rows, amount.refit_rows, tokens),
        Stage.FINETUNE_GENERATOR: learned_tokens * GENERATOR_TRAIN * generator,
        Stage.GENERATE: amount.generated * min(tokens, spec.generate.max_new_tokens) * GENERATOR_SAMPLE * generator,
        Stage.LABEL: (amount.texts * (1 + amount.recombined) + amount.read_again) * reading,
        Stage.DISTIL: _distil_seconds(spec, amount.seed_rows, amount.refit_rows, tokens),
        Stage.PUBLISH: amount.holdout * reading,
    }
    return {stage: FIXED[stage] + work[stage] for stage in GRAPH}


def usual_seconds(priors: Mapping[Stage, float], history: Mapping[Stage, float]) -> dict[Stage, float]:
    """`priors` as earlier jobs on this service correct them. `history`: observed over prior seconds of each stage; may be empty."""
    usual = sum(history.values()) / len(history) if history else 1.0
    return {stage: seconds * history.get(stage, usual) for stage, seconds in priors.items()}


def scale(priors: Mapping[Stage, float], stages: list[StageFigures]) -> float | None:
    """Observed over expected seconds of the stages that were really done; None if there are none.

    While nothing is done, stages that run and are well under way stand in for them.
    """
    done = [(stage.seconds, priors[stage.stage]) for stage in stages if stage.status == StageStatus.SUCCEEDED and not stage.reused]
    if not done:
        under_way = [s for s in stages if s.status == StageStatus.RUNNING and s.progress >= EARLIEST_PROGRESS]
        done = [(s.seconds / s.progress, priors[s.stage]) for s in under_way]
    expected = sum(prior for _, prior in done)
    return sum(seconds for seconds, _ in done) / expected if expected else None


def eta_seconds(priors: Mapping[Stage, float], stages: list[StageFigures], history: Mapping[Stage, float] | None = None) -> float | None:
    """Seconds of work that are left, all stages one after the other; None while there is nothing to go by.

    `history`: observed over prior seconds of each stage in earlier jobs on this service.
    """
    if history:
        priors = usual_seconds(priors, history)
    factor = scale(priors, stages)
    if factor is None and history:
        factor = 1.0
    open_stages = [stage for stage in stages if stage.status in {StageStatus.PENDING, StageStatus.QUEUED, StageStatus.RUNNING}]
    if factor is None:
        return None if open_stages else 0.0
    return sum(_left(stage, priors[stage.stage] * factor) for stage in open_stages)


def _left(stage: StageFigures, expected: float) -> float:
    if stage.status != StageStatus.RUNNING:
        return expected
    by_prior = max(expected - stage.seconds, 0.05 * expected)
    if stage.progress <= 0:
        return by_prior
    # The further the stage is, the more its own speed counts.
    by_progress = stage.seconds * (1 - stage.progress) / stage.progress
    return stage.progress * by_progress + (1 - stage.progress) * by_prior


def _teacher_seconds(spec: JobSpec, seed_rows: float, refit_rows: float, tokens: float) -> float:
    """`refit_rows`: of the holdout, that the published teacher learns from besides; 0 if there is none."""
    teacher = spec.teacher
    views = 2 if teacher.contrastive_weight else 1
    rows = teacher_rows(spec, seed_rows, refit_rows)
    probed = seed_rows if teacher.head_init == "probe" else 0
    cost = views * rows * TEACHER_TRAIN + probed * TEACHER_FORWARD
    return min(tokens, teacher.max_tokens) * cost * parameters_of(teacher.model, "teacher")


def _distil_seconds(spec: JobSpec, seed_rows: float, refit_rows: float, tokens: float) -> float:
    """The three students that are measured, and the one that goes on with `refit_rows`."""
    distil = spec.distil
    generated = spec.generate.quota(seed_rows, tokens)
    recombined = _recombined_share(spec, seed_rows + generated, tokens)
    own = seed_rows * (distil.seed_repeats + recombined)
    others = generated * (1 + recombined)
    seen = sum(_texts_seen(spec, distil.epochs, texts) for texts in (own + others, own, seed_rows))
    seen += sum(_texts_seen(spec, distil.epochs, own + texts * (1 + recombined)) for texts in spec.label.curve if texts < generated)
    if refit_rows:
        seen += _texts_seen(spec, distil.refit_epochs, own + others + refit_rows * distil.seed_repeats)
    return seen * min(tokens, distil.max_tokens) * STUDENT_TRAIN[distil.student]


def _recombined_share(spec: JobSpec, texts: float, tokens: float) -> float:
    """Recombined texts for each seed row and generated text."""
    read = texts * min(tokens, spec.teacher.max_tokens)
    return min(spec.label.recombined, spec.label.recombined_tokens / max(1.0, read))


def _texts_seen(spec: JobSpec, epochs: int, texts: float) -> float:
    """In `epochs`; of a small transfer set no fewer than `min_steps` hold, of a large one about as many as `max_steps` hold."""
    share, size = epochs / spec.distil.epochs, spec.distil.batch_size
    return max(min(epochs * texts, spec.distil.max_steps * share * size), texts, spec.distil.min_steps * share * size)


def parameters_of(reference: str, role: str) -> float:
    """`role`: teacher or generator. A guess for models that are not embedded."""
    model = embedded_model(reference)
    return float(model.parameters) if model else UNKNOWN_PARAMETERS[role]
