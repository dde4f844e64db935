"""Presets and overrides: what is taken, and how a fault is named."""

from typing import Any

import pytest

from app.contracts.presets import PRESETS
from app.errors import FieldError, ServiceError
from app.jobs.spec_errors import checked_spec


def fault(overrides: dict[str, Any]) -> FieldError:
    with pytest.raises(ServiceError) as caught:
        checked_spec("fast", overrides)
    assert caught.value.problem.status == 422
    assert caught.value.problem.detail
    return caught.value.problem.errors[0]


def test_overrides_are_laid_over_the_preset() -> None:
    spec = checked_spec("paper", {"distil": {"alpha": 0.5}})
    assert spec.distil.alpha == 0.5
    assert spec.teacher == PRESETS["paper"].teacher


@pytest.mark.parametrize(
    ("overrides", "column", "remedy"),
    [
        ({"distil": {"alpha": 2}}, "spec.distil.alpha", "Allowed: a number from 0 up to 1."),
        ({"distil": {"alpha": float("nan")}}, "spec.distil.alpha", "Allowed: a number from 0 up to 1."),
        ({"teacher": {"learning_rate": 0}}, "spec.teacher.learning_rate", "Allowed: a number above 0 up to 0.01."),
        ({"teacher": {"epochs": 1.5}}, "spec.teacher.epochs", "Allowed: a whole number from 1 up to 200."),
        ({"distil": {"student": "gru"}}, "spec.distil.student", "Allowed: cnn, bilstm, bag."),
        (
            {"label": {"size": 1}},
            "spec.label.size",
            "Fields of spec.label: shard_tokens, batch_size, recombined, recombined_tokens, exchanged_words, curve, rejected, seed.",
        ),
        ({"teachers": {}}, "spec.teachers", "Fields of spec: split, teacher, generator, generate, label, distil, publish, privacy."),
        (
            {"label": None},
            "spec.label",
            "Give an object with some of the fields: shard_tokens, batch_size, recombined, recombined_tokens, "
            "exchanged_words, curve, rejected, seed.",
        ),
    ],
)
def test_a_fault_names_field_and_allowed_values(overrides: dict[str, Any], column: str, remedy: str) -> None:
    found = fault(overrides)
    assert (found.column, found.remedy) == (column, remedy)


def test_every_fault_is_named() -> None:
    with pytest.raises(ServiceError) as caught:
        checked_spec("fast", {"distil": {"alpha": 2, "epochs": 0}, "label": {"batch_size": 0}})
    assert [error.column for error in caught.value.problem.errors] == ["spec.label.batch_size", "spec.distil.alpha", "spec.distil.epochs"]
    assert caught.value.problem.errors_total == 3


@pytest.mark.parametrize(
    "reference",
    [
        "embedded:minilm-l6",
        "google-bert/bert-base-uncased",
        "bert-base-uncased",
        "owner/name@v1.0",
        "/models/mine",
        "./mine",
        "../mine",
        "~/mine",
    ],
)
def test_references_that_may_be_models(reference: str, clean_settings: pytest.MonkeyPatch) -> None:
    clean_settings.setenv("GENDISTIL_MODELS", '["*"]')
    assert checked_spec("fast", {"teacher": {"model": reference}}).teacher.model == reference


@pytest.mark.parametrize("reference", ["embedded:", "embedded:none", "a/b/c", "-rf", "https://host/model", "a b", "/a\nb", "owner/name@"])
def test_references_that_are_none(reference: str) -> None:
    found = fault({"teacher": {"model": reference}})
    assert found.column == "spec.teacher.model"
    assert "embedded:minilm-l6" in (found.remedy or "")
    assert "smollm2" not in (found.remedy or "")


@pytest.mark.parametrize(
    ("reference", "patterns", "allowed"),
    [
        ("google-bert/bert-large-uncased", "[]", True),  # a preset's
        ("google-bert/bert-large-uncased@refs/pr/1", "[]", False),
        ("embedded:minilm-l6", "[]", True),
        ("owner/name", "[]", False),
        ("/models/mine", "[]", False),
        ("owner/name", '["owner/*"]', True),
        ("owner2/name", '["owner/*"]', False),
        ("owner/name@main", '["owner/*"]', False),
        ("owner/name@main", '["owner/name@*"]', True),
        ("owner/name@main", '["*"]', True),
        ("/models/mine", '["/models/*"]', True),
        ("/models/../etc", '["/models/*"]', False),
        ("/models2/mine", '["/models/*"]', False),
        ("~/models/mine", '["/models/*"]', False),
        ("./models/mine", '["models/*"]', False),
        ("models/mine", '["/models/*", "./*"]', False),
    ],
)
def test_models_that_the_settings_allow(reference: str, patterns: str, allowed: bool, clean_settings: pytest.MonkeyPatch) -> None:
    clean_settings.setenv("GENDISTIL_MODELS", patterns)
    if allowed:
        assert checked_spec("fast", {"teacher": {"model": reference}}).teacher.model == reference
        return
    with pytest.raises(ServiceError) as caught:
        checked_spec("fast", {"teacher": {"model": reference}})
    assert (caught.value.problem.status, caught.value.problem.type) == (422, "urn:gendistil:model-not-allowed")
    assert "GENDISTIL_MODELS" in (caught.value.problem.remedy or "")


def test_an_unknown_preset() -> None:
    with pytest.raises(ServiceError) as caught:
        checked_spec("quick", {})
    assert "fast, balanced, sensitive, thorough, paper" in (caught.value.problem.remedy or "")


def test_two_fields_that_exclude_each_other() -> None:
    found = fault({"distil": {"max_bytes": 2_000_000}, "publish": {"precision": "fp32"}})
    assert "publish.precision" in found.detail
    assert found.remedy == "Change one of the two fields."
    assert checked_spec("fast", {"distil": {"max_bytes": 2_000_000}, "publish": {"precision": "int8"}}).distil.max_bytes == 2_000_000
