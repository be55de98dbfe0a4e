"""The machine in words: what it is, and what torch and NumPy make of it."""

import functools
import os
import subprocess
import sys
import time

import pytest
import torch

from otad.machine import commit, machine, model, seconds, torch_peak

ASK = "import numpy.linalg, torch\nfrom otad.machine import machine\nprint(machine())"


@functools.cache
def _asked(**limits):
    done = subprocess.run(
        [sys.executable, "-c", ASK], env={**os.environ, **limits}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_processor_is_named_with_what_is_in_use():
    said = machine()
    assert said.startswith(f"{model()} (")
    assert f"{os.cpu_count()} core" in said
    assert "torch" in _asked()


def test_an_emulated_processor_is_told_from_the_real_one():
    plain = _asked()
    emulated = _asked(ATEN_CPU_CAPABILITY="default", ONEDNN_MAX_CPU_ISA="SSE41", OPENBLAS_CORETYPE="Nehalem")
    assert "torch with DEFAULT" in emulated
    assert emulated.endswith(
        "ATEN_CPU_CAPABILITY=default, ONEDNN_MAX_CPU_ISA=SSE41, OPENBLAS_CORETYPE=Nehalem"
    )
    assert "SSE41" not in plain
    if "OpenBLAS" in plain:
        assert "(Nehalem)" in emulated


def test_a_commit_is_clean_until_something_but_results_differs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit() == "unknown"
    (tmp_path / "results").mkdir()
    code, rows = tmp_path / "code.py", tmp_path / "results" / "toy.json"
    for file in (code, rows):
        file.write_text("1")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], check=True)
    clean = commit()
    assert len(clean) == 12
    rows.write_text("2")
    assert commit() == clean
    code.write_text("2")
    assert commit() == f"{clean}-dirty"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor\t: 0\nmodel name\t: AMD  EPYC 7763 64-Core\nflags: avx2\n", "AMD EPYC 7763 64-Core"),
        ("Hardware: x\n", None),
    ],
)
def test_the_model_is_the_kernel_s_word_or_python_s(tmp_path, monkeypatch, text, name):
    monkeypatch.setattr("platform.processor", lambda: "")
    (tmp_path / "cpuinfo").write_text(text)
    assert model(tmp_path / "cpuinfo") == (name or "unknown processor")
    monkeypatch.setattr("platform.processor", lambda: "arm")
    assert model(tmp_path / "missing") == "arm"


def test_seconds_are_those_of_the_fastest_call():
    calls = []
    spent = seconds(lambda: (calls.append(0), time.sleep(0.05 if len(calls) < 3 else 0.01)), repeats=3)
    assert len(calls) == 3
    assert 0.01 <= spent < 0.05


def test_the_peak_of_torch_is_what_was_held_at_once():
    def work():
        first = torch.empty(1000, dtype=torch.float32)
        del first
        return [torch.empty(500, dtype=torch.float64), torch.empty(250, dtype=torch.float64)]

    assert 6000 <= torch_peak(work) < 8000  # never the ten thousand that were asked for in all


def test_the_peak_of_memory_is_forgotten():
    """In a process of its own: what others have left here would hide it."""
    code = """
from otad.machine import forget_peak, own_peak_mb
large = bytearray(300_000_000)
for i in range(0, len(large), 4096):
    large[i] = 1
before = own_peak_mb()
del large
forget_peak()
print(before, own_peak_mb())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(float, done.stdout.split())
    assert before > 280
    assert after < before - (250 if sys.platform == "linux" else 0)
