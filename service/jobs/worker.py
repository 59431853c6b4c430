"""The worker: runs queued trainings until it is stopped. Also its supervision by the service."""

import logging
import signal
import subprocess
import threading
import time

from service.environment import PREFIX
from service.jobs import child
from service.jobs.heartbeat import Heartbeat
from service.jobs.queue import TrainingQueue
from service.jobs.work import GRACE_SECONDS, Work, stop
from service.settings import Settings
from service.training_process import environment

log = logging.getLogger(__name__)

POLL_SECONDS = 5.0
"""Time between two polls for trainings without a wake-up or with a killed worker."""
_PAUSED_SECONDS = 5.0
"""Delay of the watch loop that shows that the machine was paused; the heartbeat then starts anew."""
_IDLE_SECONDS = 0.3
_RESTART_SECONDS = (1.0, 30.0)
HUNG_SECONDS = 120.0
"""Time without a heartbeat after which a worker is killed. Its training resumes from the last checkpoint."""


def work_until_stopped(settings: Settings) -> None:
    """Run trainings. SIGTERM or SIGINT stops the running one at its last checkpoint and queues it again."""
    settings.make_home()
    work = Work(settings)
    work.clean_up()
    queue = TrainingQueue(settings, work.run_next)

    def stop(number: int, frame: object) -> None:
        work.stopping = True

    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, stop)
    log.info("The worker is ready")
    polled_at = -POLL_SECONDS
    while not work.stopping:
        work.heartbeat.beat()
        try:
            if queue.handle_next():
                continue
            if time.monotonic() - polled_at > POLL_SECONDS:
                polled_at = time.monotonic()
                work.requeue_interrupted()
                if work.run_next():
                    continue
        except Exception:  # such as no Redis or a full disk: try again later
            log.exception("The worker could not poll for trainings")
            time.sleep(POLL_SECONDS)
        time.sleep(_IDLE_SECONDS)


class WorkerProcess:
    """A worker as a child process of the service, restarted if it dies or hangs."""

    def __init__(self, settings: Settings, module: str = "service") -> None:
        """Start the worker as `python -m MODULE worker`."""
        self._module = module
        # Only valid settings, so that the worker does not warn of unknown and injected variables again.
        inherited = {name: value for name, value in environment().items() if not name.upper().startswith(PREFIX)}
        self._environment = inherited | settings.environment()
        self._closed = threading.Event()
        self._folder = settings.trainings_folder
        self._process = self._start()
        self._thread = threading.Thread(target=self._watch, name="worker", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        """Stop the worker. A running training resumes from its last checkpoint under the next worker."""
        self._closed.set()
        self._thread.join()
        stop(self._process, GRACE_SECONDS + 5)

    def _start(self) -> subprocess.Popen:
        return subprocess.Popen(
            child.command("-m", self._module, "worker"),
            env=self._environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the service, which then stops its worker
        )

    def _watch(self) -> None:
        pause, max_pause = _RESTART_SECONDS
        heartbeat, checked_at = Heartbeat(self._folder), time.monotonic()
        while not self._closed.wait(0.2):
            if time.monotonic() - checked_at > _PAUSED_SECONDS:
                heartbeat = Heartbeat(self._folder)
            checked_at = time.monotonic()
            if self._process.poll() is None:
                if heartbeat.silent_seconds() > HUNG_SECONDS:
                    log.error("The worker gave no heartbeat for %.0f seconds and is killed", HUNG_SECONDS)
                    self._process.kill()
                    self._process.wait()
                continue
            log.error("The worker ended with status %d and is restarted", self._process.returncode)
            if self._closed.wait(pause):
                return
            pause = min(2 * pause, max_pause)
            self._process, heartbeat = self._start(), Heartbeat(self._folder)
