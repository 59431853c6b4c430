"""`python -m service` as a process, with a captioner of random weights."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from captioner.bundle.bundle import save_bundle
from service import __main__ as command
from service.settings import Settings
from service.store.database import Database
from service.store.versions import Versions
from tests.support.pictures import picture_bytes
from tests.support.translators import save_tiny_translator

pytestmark = pytest.mark.stress

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.Popen]
TOKEN = "0123456789abcdef"

# The command with a toy service, after the program's own lines.
WITH_TOY = """
import os, sys, time, types

class Toy:
    extensions = {{"captioner": types.SimpleNamespace(
        mark_stopping=lambda: print("stopping", flush=True), close=lambda: print("closed", flush=True)
    ), "guard": None}}

    def __call__(self, environ, start_response):
        print("asked", flush=True)
        time.sleep(1)
        start_response("200 OK", [("Content-Length", "4")])
        print("answered", flush=True)
        return [b"done"]

sys.modules["service.app"] = types.ModuleType("service.app")
sys.modules["service.app"].create_app = lambda settings: Toy()
{lines}
from service.__main__ import main
sys.exit(main())
"""


@pytest.fixture
def bundle(tiny_bundle, tmp_path) -> Path:
    save_bundle(tiny_bundle, tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def start_process(tmp_path) -> Iterator[Run]:
    """Start `python -m service` with arguments and with settings in the environment."""
    processes = []

    def start(*arguments: str, program: tuple[str, ...] = ("-m", "service"), **settings) -> subprocess.Popen:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CAPTIONER_")}
        settings = {"home": tmp_path / "home", "port": 0, "worker": "external"} | settings
        environment |= {f"CAPTIONER_{name.upper()}": str(value) for name, value in settings.items()}
        process = subprocess.Popen(
            [sys.executable, *program, *arguments], cwd=ROOT, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def url_of(process: subprocess.Popen) -> str:
    line = process.stdout.readline()
    assert re.fullmatch(r"Captioner is ready: http://127\.0\.0\.1:\d+\n", line), line + process.stderr.read()
    return line.split()[-1]


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_service_prints_its_url_captions_photos_and_exits_cleanly(start_process, bundle, tmp_path, number):
    process = start_process("--bundle", str(bundle), worker="own")
    url = url_of(process)
    with httpx.Client(base_url=url, trust_env=False, verify=False, timeout=30) as client:
        assert client.get("/api/health/ready").status_code == 200
        response = client.post("/api/captions", files={"image": ("a.jpg", picture_bytes())})
        assert response.status_code == 201
    line = process.stdout.readline()
    process.send_signal(number)
    _, log = process.communicate(timeout=30)
    token = (tmp_path / "home" / "admin-token").read_text().strip()
    assert process.returncode == 0 and line == f"To retrain, switch and delete: {url}/retrain#token={token}\n"
    assert "POST /api/captions 201" in log and "Traceback" not in log and token not in log
    home = tmp_path / "home"
    other_files = {path.name for path in home.iterdir()} - {
        "collections",
        "datasets",
        "models",
        "photos",
        "trainings",
        "queue.db",
    }
    assert other_files == {"captioner.db", "admin-token"}, "the database is closed"
    assert (home / "admin-token").stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700, "the home is private"


def test_photos_that_have_arrived_are_captioned_before_the_service_exits(start_process, bundle):
    process = start_process("--bundle", str(bundle))
    photo = picture_bytes()
    head = "POST /api/captions HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    head += f"Content-Length: {len(photo)}\r\n\r\n"
    address = urlsplit(url_of(process))
    connections = [socket.create_connection((address.hostname, address.port), timeout=30) for _ in range(20)]
    for connection in connections:
        connection.sendall(head.encode() + photo)
    process.send_signal(signal.SIGTERM)
    for connection in connections:
        answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 201"), answer[:200]
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["caption"]
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_the_app_is_notified_of_the_end_first_and_closed_last(start_process):
    process = start_process(program=("-c", WITH_TOY.format(lines="")), admin_token=TOKEN)
    address = urlsplit(url_of(process))
    connection = socket.create_connection((address.hostname, address.port), timeout=30)
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert process.stdout.readline() == "asked\n"
    process.send_signal(signal.SIGTERM)
    assert read_all(connection).endswith(b"done")
    assert process.communicate(timeout=30)[0].split() == ["stopping", "answered", "closed"]
    assert process.returncode == 0


def test_requests_waiting_for_a_thread_cause_no_warnings(start_process):
    process = start_process(program=("-c", WITH_TOY.format(lines="")), admin_token=TOKEN, queue_size=1, batch_size=1)
    address = urlsplit(url_of(process))
    connections = [socket.create_connection((address.hostname, address.port), timeout=30) for _ in range(15)]
    for connection in connections:  # ten threads answer them
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert all(read_all(connection).endswith(b"done") for connection in connections)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30)[1] == ""


def test_kubernetes_variables_and_a_mistyped_setting_do_not_prevent_the_start(start_process):
    injected = {"service_host": "10.0.0.1", "service_port": 80, "port_80_tcp": "tcp://10.0.0.1:80", "prot": 1}
    process = start_process("--port", "0", program=("-c", WITH_TOY.format(lines="")), admin_token=TOKEN, **injected)
    url_of(process)
    process.send_signal(signal.SIGTERM)
    warning = "CAPTIONER_PROT is ignored because it is not a setting: did you mean CAPTIONER_PORT?\n"
    assert (process.communicate(timeout=30)[1], process.returncode) == (warning, 0)


def test_help_names_every_setting_and_does_not_import_torch(start_process):
    show = "import runpy, sys; sys.argv[1:] = ['--help']\ntry: runpy.run_module('service', run_name='__main__')\n"
    process = start_process(program=("-c", f"{show}finally: print('torch' in sys.modules, 'flask' in sys.modules)"))
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 0 and errors == ""
    assert output.endswith("False False\n")
    for name in Settings.model_fields:
        assert f"CAPTIONER_{name.upper()}" in output
    assert "environment variables" in output and "--bundle DIR" in output


@pytest.mark.parametrize(
    "arguments, settings, message",
    [
        (["--port", "x"], {}, "--port is 'x', but must be a whole number"),
        ([], {"queue_size": "x"}, "CAPTIONER_QUEUE_SIZE is 'x', but must be a whole number"),
        ([], {"port": "10.0.0.1:80"}, "CAPTIONER_PORT is '10.0.0.1:80', but must be a whole number"),
        ([], {"home": "/proc/nowhere"}, "cannot store its data in /proc/nowhere"),
        (["--host", "192.0.2.1"], {}, "192.0.2.1 is not an address of this machine"),
        (["--bundle", "/nowhere"], {}, "/nowhere"),
        (["--host", "0.0.0.0"], {}, "other machines can reach 0.0.0.0, so a generated token is not safe enough"),
        (["--host", "::"], {}, "CAPTIONER_ADMIN_TOKEN to a secret of 16 characters or more"),
        ([], {"admin_token": "short"}, "CAPTIONER_ADMIN_TOKEN is too short, but must be a secret of 16 characters"),
        ([], {"redis_url": "http://x"}, "must be the URL of a Redis: redis://HOST:PORT/NUMBER"),
        (["models", "promote", "0123456789ab"], {}, "model version 0123456789ab does not exist"),
        (["models", "rollback"], {}, "there is no version to return to"),
        ([], {"device": "abacus"}, "the device abacus cannot be used"),
    ],
)
def test_errors_of_the_user_are_one_line(start_process, arguments, settings, message):
    process = start_process(*arguments, **settings)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 2 and output == ""
    assert errors.startswith("error: ") and message in errors and errors.count("\n") == 1, errors


def test_a_port_in_use_is_reported_before_the_captioner_loads(start_process):
    with socket.create_server(("127.0.0.1", 0)) as other:
        process = start_process("--port", str(other.getsockname()[1]), "--bundle", "/nowhere")
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 2 and "already in use" in errors and "nowhere" not in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_service_can_be_stopped_while_loading(start_process, number):
    """No client is connected yet; the exit status is set, and there is no traceback."""
    load = "sys.modules['service.app'].create_app = lambda settings: (print('loading', flush=True), time.sleep(60))"
    process = start_process(program=("-W", "error", "-c", WITH_TOY.format(lines=load)), admin_token=TOKEN)
    assert process.stdout.readline() == "loading\n"
    started = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and errors == "" and time.monotonic() - started < 20


@pytest.mark.parametrize("policy, expected", [("", "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_openmp_threads_wait_passively_unless_configured(start_process, monkeypatch, policy, expected):
    """Torch reads OMP_WAIT_POLICY on import; a value that is set is kept."""
    lines = """
class ImportHook:
    def find_spec(self, name, *_):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"), flush=True)

sys.meta_path.insert(0, ImportHook())
sys.modules["service.app"].create_app = lambda settings: print(sys.modules["torch"].get_num_threads()) or sys.exit()
"""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if policy:
        monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    process = start_process(program=("-c", WITH_TOY.format(lines=lines)), admin_token=TOKEN, threads=3)
    assert process.communicate(timeout=30)[0].split() == [expected, "3"]


def test_the_process_raises_its_limit_of_open_files(start_process):
    resource = pytest.importorskip("resource")
    lower = """
import resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
limit = lambda settings: print(resource.getrlimit(resource.RLIMIT_NOFILE)[0]) or sys.exit()
sys.modules["service.app"].create_app = limit
"""
    process = start_process(program=("-c", WITH_TOY.format(lines=lower)), admin_token=TOKEN)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert int(process.communicate(timeout=30)[0]) == (4000 if hard == resource.RLIM_INFINITY else min(4000, hard))


def test_the_limit_of_open_files_is_raised_within_the_systems_maximum(monkeypatch):
    resource = pytest.importorskip("resource")
    for limits, expected in [
        ((256, 10_000), (4000, 10_000)),
        ((256, 1024), (1024, 1024)),
        ((256, resource.RLIM_INFINITY), (4000, resource.RLIM_INFINITY)),
        ((8000, 10_000), None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None),
    ]:
        calls = []
        monkeypatch.setattr(resource, "getrlimit", lambda kind, limits=limits: limits)
        monkeypatch.setattr(resource, "setrlimit", lambda kind, limits, calls=calls: calls.append(limits))
        command.allow_open_files(4000)
        assert calls == ([expected] if expected else [])


def test_a_configured_token_allows_listening_on_all_addresses_and_is_not_printed(start_process, bundle):
    process = start_process("--bundle", str(bundle), "--host", "0.0.0.0", admin_token=TOKEN)
    url_of(process)
    process.send_signal(signal.SIGTERM)
    output, log = process.communicate(timeout=30)
    assert process.returncode == 0 and TOKEN not in output + log


def test_models_are_listed_promoted_and_rolled_back(start_process, bundle, make_bundle, tmp_path):
    settings = Settings(home=tmp_path / "home", bundle=bundle)
    settings.make_home()
    database = Database(settings.database, settings.home)
    versions = Versions(database, settings.home, bundle)
    save_bundle(make_bundle(seed=1), tmp_path / "other")
    scores = {"data": {"new": {"CIDEr": 0.5}, "old": {"CIDEr": 0.25}}}
    added = versions.add(tmp_path / "other", {"name": "dogs", "origin": "training", "scores": scores})
    database.close()

    def models(*arguments):
        output, errors = start_process("--bundle", str(bundle), "models", *arguments).communicate(timeout=60)
        assert errors == ""
        return output.splitlines()

    dogs, built_in = models("list")
    assert dogs.startswith(f"  {added.id}  20") and dogs.endswith("training  dogs  CIDEr 0.500, previous 0.250")
    assert built_in == "* built-in                        built-in  bundle"
    assert models("promote", added.id) == [f"{added.id} is now in use"]
    assert models("list")[0].startswith(f"* {added.id}")
    assert models("rollback") == ["built-in is now in use"]
    assert models("list")[1].startswith("* built-in")


def test_translators_are_listed_promoted_and_rolled_back(bundle, tmp_path, monkeypatch, capsys):
    settings = Settings(home=tmp_path / "home", bundle=bundle)
    settings.make_home()
    database = Database(settings.database, settings.home)
    scores = {"data": {"new": {"BLEU": 31.25}, "old": None}}
    facts = {"name": "signs", "origin": "training", "scores": scores}
    added = Versions(database, settings.home, bundle).add(save_tiny_translator(tmp_path), facts)
    database.close()
    monkeypatch.setenv("CAPTIONER_HOME", str(settings.home))

    def models(*arguments):
        assert command.main(["--bundle", str(bundle), "models", *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    assert models("list")[0].endswith("training  signs  en-de  BLEU 31.2")
    assert models("promote", added.id) == [f"{added.id} is now in use"]
    assert [line[0] for line in models("list")] == ["*", "*"], "a captioner and a translator are in use"
    assert models("rollback", "--language", "de") == ["the built-in translator to de, if any, is now in use"]
    assert [line[0] for line in models("list")] == [" ", "*"]


def test_a_worker_ends_on_request_or_when_its_service_is_killed(start_process, bundle):
    process = start_process("worker")
    assert "The worker is ready" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0

    service = start_process("--bundle", str(bundle), worker="own")
    url_of(service)
    (worker,) = [child for child in psutil.Process(service.pid).children() if "worker" in child.cmdline()]
    worker.kill()  # another one is started
    wait_until(lambda: [c for c in psutil.Process(service.pid).children() if c.is_running() and c.pid != worker.pid])
    (worker,) = [child for child in psutil.Process(service.pid).children() if child.pid != worker.pid]
    service.kill()
    psutil.wait_procs([worker], timeout=20)
    assert not worker.is_running()


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)
