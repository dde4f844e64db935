"""Teachers of published students, ready to answer in their place."""

from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from app.contracts.artefacts import ArtefactManifest
from app.contracts.report import Report
from app.contracts.spec import Precision
from app.contracts.stages import Stage
from app.contracts.students import REPORT_FILE
from app.storage import BlobStore
from workers.training.calibration import Floats, softmax
from workers.training.devices import pick_device
from workers.training.encoder import Teacher, encode, load_teacher, predict_logits
from workers.training.score_report import published_temperature
from workers.training.split import Lineage
from workers.training.transfer import Part, read_transfer

BATCH_SIZE = 32


class NoTeacher(Exception):
    """The student has none here: it was imported, or its artefact is gone."""


@dataclass(frozen=True, slots=True)
class TeacherNetwork:
    """Of one artefact and lineage; students of one job, or of one teacher, share it. `teacher` is on `device`."""

    teacher: Teacher
    tokenizer: PreTrainedTokenizerBase
    max_tokens: int
    precision: Precision
    device: torch.device

    def logits(self, texts: list[str]) -> torch.Tensor:
        """(N, C)."""
        ids, pad_id = encode(self.tokenizer, texts, self.max_tokens), int(self.tokenizer.pad_token_id or 0)
        return predict_logits(self.teacher, ids, pad_id, BATCH_SIZE, self.device, self.precision)


@dataclass(frozen=True, slots=True)
class StandIn:
    """The teacher in the place of one student. `labels`: that student's, in the order of both's logits."""

    network: TeacherNetwork
    labels: list[str]
    temperature: float

    def probabilities(self, texts: list[str]) -> Floats:
        """softmax(logits / temperature), (N, C), in the order of the texts."""
        return softmax(self.network.logits(texts).double().numpy(), self.temperature)


class TeacherLoader:
    """Keeps the networks that are in use, each once."""

    def __init__(self, storage: BlobStore) -> None:
        self._storage = storage
        self._networks: dict[tuple[str, Lineage], TeacherNetwork] = {}

    def load(self, student: str) -> StandIn:
        """`student`: its artefact's key. The teacher is the one of the lineage that is served.

        Its temperature was fitted on the holdout; the published teacher, which has learned from that, gets the one that makes it as
        certain on the same unlabelled texts, as the published student does. Raises `NoTeacher`, `FileNotFoundError`, `TornArtefact`,
        `ValueError` for files that do not belong together, and what `STORAGE_AWAY` names.
        """
        manifest = self._storage.manifest(student)
        if manifest is None or Stage.FINETUNE_TEACHER not in manifest.inputs:
            raise NoTeacher("its artefact is gone" if manifest is None else "it was imported, and its teacher is not here")
        report = Report.model_validate_json(self._storage.read_verified(student, REPORT_FILE))
        network = self._network(manifest.inputs[Stage.FINETUNE_TEACHER], Lineage.PUBLISHED if report.refit else Lineage.MEASURED)
        if network.teacher.head.out_features != len(report.labels):
            raise ValueError(f"its teacher knows {network.teacher.head.out_features} labels, and it has {len(report.labels)}")
        return StandIn(network, report.labels, self._temperature(manifest, report))

    def keep(self, used: list[StandIn]) -> None:
        """Lets go of the networks of all others."""
        kept = {id(stand_in.network) for stand_in in used}
        self._networks = {place: network for place, network in self._networks.items() if id(network) in kept}

    def _network(self, key: str, lineage: Lineage) -> TeacherNetwork:
        if (network := self._networks.get((key, lineage))) is None:
            manifest = self._storage.manifest(key)
            if manifest is None:
                raise FileNotFoundError(f"the teacher, artefact {key}, is gone")
            teacher, tokenizer = load_teacher(self._storage.fetch(key) / lineage)
            # Of its spec no more than this: other fields may be those of another version.
            spec, device = manifest.spec["teacher"], pick_device()
            network = TeacherNetwork(teacher.to(device), tokenizer, spec["max_tokens"], spec["precision"], device)
            self._networks[key, lineage] = network
        return network

    def _temperature(self, manifest: ArtefactManifest, report: Report) -> float:
        if report.scores is None:  # of an older version, which did not measure it
            return 1.0
        measured = report.scores.teacher.temperature
        if not report.refit:
            return measured
        folder = self._storage.fetch(manifest.inputs[Stage.LABEL])
        before, after = (read_transfer(folder, report.labels, lineage) for lineage in (Lineage.MEASURED, Lineage.PUBLISHED))
        part = Part.GENERATED if before[Part.GENERATED].texts else Part.SEED
        return published_temperature(before[part].logits, measured, after[part].logits)
