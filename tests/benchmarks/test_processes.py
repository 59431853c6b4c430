"""Processor time and memory of a process count its children."""

import subprocess
import sys

import psutil

from benchmarks.processes import cpu_seconds, memory_mb

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print("ready", flush=True)
sys.stdin.read()
child.kill()
"""
BUSY_CHILD = """
import time
held = bytearray(100_000_000)
while time.process_time() < 0.3: pass
print("ready", flush=True)
time.sleep(600)
"""


def test_children_count():
    command = [sys.executable, "-c", PARENT, BUSY_CHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        observed = psutil.Process(process.pid)
        times, memory = observed.cpu_times(), observed.memory_info().rss / 1e6
        assert cpu_seconds(observed) >= times.user + times.system + 0.25
        assert memory_mb(observed) > 100 > memory
        process.stdin.close()
        process.wait(60)
