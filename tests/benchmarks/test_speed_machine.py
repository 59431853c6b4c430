"""Results name the machine that they were measured on."""

import torch

from benchmarks import machine
from benchmarks.machine import Machine

FIRST_CORE = "processor\t: 0\nmodel name\t: A CPU @ 2 GHz\nflags\t\t: sse avx512_bf16 amx_bf16\n\n"


def test_the_cpu_is_read_from_the_kernel(tmp_path, monkeypatch):
    file = tmp_path / "cpuinfo"
    file.write_text(FIRST_CORE + FIRST_CORE.replace("A CPU", "Another"))
    monkeypatch.setattr(machine, "cpu_info", lambda info=machine.cpu_info: info(file))
    details = machine.describe(torch.device("cpu"))
    assert (details.cpu, details.cpu_bf16) == ("A CPU @ 2 GHz", ("avx512_bf16", "amx_bf16"))
    assert details.threads == torch.get_num_threads() and details.torch == torch.__version__
    assert details.cores >= 1 and details.memory_gib > 0 and details.gpu is None


def test_missing_kernel_information_raises_nothing(tmp_path, monkeypatch):
    assert machine.cpu_info(tmp_path / "cpuinfo") == {}
    monkeypatch.setattr(machine, "cpu_info", dict)
    details = machine.describe(torch.device("cpu"))
    assert details.cpu and details.cpu_bf16 == ()


def test_the_machine_is_described_in_two_lines():
    gpu = Machine("A CPU", 2, 23.6, "x86_64", "3.11.7", "2.6.0", 2, (), "cuda", "A GPU", True)
    assert machine.report(gpu).splitlines() == [
        "A CPU, 2 cores, 24 GiB, x86_64; bf16: no instructions.",
        "Python 3.11.7, torch 2.6.0 with 2 threads, on cuda: A GPU, bf16: yes.",
    ]
