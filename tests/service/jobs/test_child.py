"""Child processes end with their parent, however the parent ends."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.jobs import child

ROOT = Path(__file__).parents[3]

PARENT = """
import os, signal, subprocess, sys
from service.jobs import child

subprocess.Popen(child.command("-c", "import time; print('begun', flush=True); time.sleep(600)"))
sys.stdin.read(1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_child_runs_the_command_with_its_arguments_and_niceness():
    code = "import os, sys; print(sys.argv[1:], os.getpid(), os.nice(0))"
    with subprocess.Popen(child.command("-c", code, "a b", niceness=3), cwd=ROOT, stdout=subprocess.PIPE) as process:
        output = process.communicate(timeout=60)[0].decode().strip()
    assert output == f"['a b'] {process.pid} {min(19, os.nice(0) + 3)}"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells a process of its parent's end")
def test_the_child_ends_when_its_parent_is_killed():
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout.readline() == b"begun\n"
        parent.stdin.write(b"x")
        parent.stdin.flush()
        assert parent.stdout.read() == b"", "the child holds this pipe until it ends"
    assert parent.returncode == -9


def test_the_child_does_not_start_if_its_parent_has_ended():
    line = child.command("-c", "print('begun')")
    line[line.index(str(os.getpid()))] = str(2**22 + 1)  # larger than every process id
    result = subprocess.run(line, cwd=ROOT, capture_output=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (143, b"", b"")


def test_no_python_code_runs_between_fork_and_exec():
    for path in [path for package in ("captioner", "training", "service") for path in (ROOT / package).rglob("*.py")]:
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        assert not [call for call in calls for word in call.keywords if word.arg == "preexec_fn"], path
