"""What is known of the processor, and which settings of it the numeric tests are run under."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.store import processor
from bench.store.processor import Setting, has_bfloat16, settings

AVX2 = frozenset(["sse2", "avx", "avx2", "fma"])
AVX512 = AVX2 | frozenset(["avx512f", "avx512bw", "avx512dq", "avx512vl"])


def runnable(flags: frozenset[str]) -> list[str]:
    return [s.name for s in settings(flags) if s.missing is None]


def test_the_settings_follow_from_what_the_processor_has() -> None:
    assert runnable(AVX512) == ["as it is", "aten default", "aten avx2", "all avx2"]
    assert runnable(AVX2) == ["as it is", "aten default"]
    assert runnable(frozenset({"sse2"})) == ["as it is"]
    assert runnable(frozenset()) == ["as it is"]  # unknown


def test_what_is_left_out_has_its_reason() -> None:
    reasons = {s.name: s.missing for s in settings(AVX2)}
    assert reasons["aten avx512"] == "the processor has no avx512bw, avx512dq, avx512f, avx512vl"
    assert reasons["aten avx2"] == reasons["all avx2"] == "the processor's own choice"


def test_a_setting_replaces_what_was_set() -> None:
    given = {"PATH": "/bin", "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
    assert Setting(name="as it is").environment(given) == {"PATH": "/bin"}
    narrow = next(s for s in settings(AVX512) if s.name == "all avx2").environment(given)
    assert narrow["ATEN_CPU_CAPABILITY"] == "avx2" and narrow["ONEDNN_MAX_CPU_ISA"] == "AVX2"


@pytest.mark.parametrize("setting", [s for s in settings() if not s.missing], ids=lambda s: s.name)
def test_torch_uses_the_instructions_that_were_asked_for(setting: Setting) -> None:
    code = "import torch, numpy; print(torch.backends.cpu.get_cpu_capability())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=setting.environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    asked = setting.variables.get("ATEN_CPU_CAPABILITY")
    if asked is not None:
        assert done.stdout.strip().lower() == asked


def test_the_processor_is_described(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = processor.describe()
    assert told["model"] and set(told) == {"model", "instructions", "threads"}
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert processor.describe() == {**told, "instructions": None, "threads": None}
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "none")
    processor.cpu_model.cache_clear()
    assert processor.cpu_model()  # the platform's word
    processor.cpu_model.cache_clear()


def test_bfloat16_is_known_by_its_instructions() -> None:
    assert has_bfloat16(frozenset({"avx2", "avx512f", "avx512_bf16"}))
    assert has_bfloat16(frozenset({"amx_bf16"}))
    assert not has_bfloat16(frozenset({"avx2", "avx512f"}))
    assert has_bfloat16(frozenset())  # not known
