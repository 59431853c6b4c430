"""Pool of processes that decode photos: a photo that crashes or hangs its process affects no other photo."""

import multiprocessing
import queue
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from captioner.errors import CaptionerError, ConfigError, ImageError

Task = TypeVar("Task")

MAX_ATTEMPTS = 2
"""Number of attempts for a photo that ends its process or takes too long: the machine may be short of memory."""
_READY = "ready"
_GRACE = 5.0
"""Seconds to wait for the end of a process that closed its connection."""


# No pool of a library serves here. In concurrent.futures and loky, a process that dies fails every task that waits, and
# a task has no time limit. Pebble has one, but its processes share a pipe and its locks: one that is killed while it
# sends pixels holds up the others for a minute, and then the whole pool is broken. Here every process has its own pipe.
class PhotoWorkers:
    """Pool of processes, which threads may share. Close it after use, as `open_workers` does."""

    def __init__(self, count: int, seconds: float):
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._workers = [_Worker(seconds) for _ in range(count)]
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(count)  # each waits for one process

    def submit(
        self, function: Callable[..., Any], name: str, *arguments: Any, then: Callable[[Any], Any] | None = None
    ) -> Future:
        """Run `function(name, *arguments)` in one of the processes. name: name of a photo.

        The function must be at the top level of a module, so that the process can import it. The future raises the
        function's exceptions, and ImageError if the photo ended its process or took too long.
        then: called with the result in a thread of this process; its own result becomes the future's.
        """
        return self._threads.submit(self._call, then, function, name, *arguments)

    def close(self) -> None:
        """End the processes and drop the tasks that have not started."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.interrupt()
        self._threads.shutdown()
        for worker in self._workers:
            worker.end()

    def _call(self, then: Callable[[Any], Any] | None, function: Callable[..., Any], name: str, *arguments: Any) -> Any:
        result = self._call_worker(function, name, *arguments)
        return result if then is None else then(result)

    def _call_worker(self, function: Callable[..., Any], name: str, *arguments: Any) -> Any:
        worker = self._idle.get()
        try:
            for attempts_left in reversed(range(MAX_ATTEMPTS)):
                try:
                    return worker.call(function, name, *arguments)
                except _WorkerLost as error:
                    if not attempts_left:
                        raise ImageError(f"{name} {error}") from None
        finally:
            self._idle.put(worker)


@contextmanager
def open_workers(count: int, seconds: float) -> Iterator[PhotoWorkers]:
    """Open a pool of `count` processes, started on demand. seconds: time limit for one photo."""
    workers = PhotoWorkers(count, seconds)
    try:
        yield workers
    finally:
        workers.close()


def start_ahead(
    tasks: Iterable[Task], start: Callable[[Task], Future], ahead: int
) -> Generator[tuple[Task, Future], None, None]:
    """Yield each task and its future in order; at most `ahead` tasks are started before they are taken.

    A thread iterates over the tasks, which may take time to find. Exceptions of `tasks` propagate.
    """
    remaining = iter(tasks)

    def start_next() -> tuple[Task, Future] | None:
        for task in remaining:
            return task, start(task)
        return None

    reader = ThreadPoolExecutor(1)
    try:
        waiting = deque(reader.submit(start_next) for _ in range(ahead))
        while task_and_future := waiting.popleft().result():
            yield task_and_future
            waiting.append(reader.submit(start_next))
    finally:
        reader.shutdown(cancel_futures=True)


class _WorkerLost(Exception):
    """A process gave no answer; the text continues a sentence that starts with the photo's name."""


class _Worker:
    """One process, started at the first call and restarted after a failure."""

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None
        self._interrupted = False

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if self._process is None:
            self._start()
        try:
            self._connection.send((function, arguments))
            has_answer = self._connection.poll(self._seconds)
            answer = self._connection.recv() if has_answer else None
        except (EOFError, OSError) as error:
            raise _WorkerLost(f"ended the process that read it ({self._describe_exit()}): save it again") from error
        if not has_answer:
            self.end()
            raise _WorkerLost(f"took more than {self._seconds:g} s to read: save it again, or raise --photo-seconds")
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def interrupt(self) -> None:
        """End the process for good, even while another thread waits for its answer."""
        self._interrupted = True
        if self._process is not None:
            self._process.kill()

    def end(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None

    def _start(self) -> None:
        if self._interrupted:
            raise _WorkerLost("was not read: the run ended")
        # Spawned: a copy of this process would hold its locks, its threads' work and its GPU.
        context = multiprocessing.get_context("spawn")
        self._connection, worker_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(worker_end,), daemon=True)
        self._process.start()
        worker_end.close()  # otherwise the end of the process would go unnoticed
        try:
            self._connection.recv()
        except (EOFError, OSError) as error:
            raise ConfigError(
                f"a process that reads photos does not start ({self._describe_exit()}): use fewer --workers"
            ) from error

    def _describe_exit(self) -> str:
        self._process.join(_GRACE)
        code = self._process.exitcode
        self.end()
        if code is None:
            return "it stopped answering"
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"


def _serve(connection: Connection) -> None:
    """Main loop of a process: answer calls until the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent process
    try:
        connection.send(_READY)
        while True:
            function, arguments = connection.recv()
            try:
                answer = function(*arguments)
            except CaptionerError as error:
                answer = error
            except Exception as error:  # a bug must end the run with a message
                answer = RuntimeError(f"{function.__name__}{arguments[:1]} failed: {error!r}")
            connection.send(answer)
    except (EOFError, OSError):
        return
