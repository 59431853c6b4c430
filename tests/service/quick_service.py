"""`python -m tests.service.quick_service ...`: the service or its worker, whose trainings run without Java.

Tests that kill processes use it; tests/service/test_training.py::test_from_a_zip_to_a_captioner_that_serves and the
tests of the page train as users do.
"""

import functools
import sys

from service import training_process, worker
from service.__main__ import main

MODULE = "tests.service.quick_service"

if __name__ == "__main__":
    training_process.MODULE = "tests.quick_training"
    worker.WorkerProcess = functools.partial(worker.WorkerProcess, module=MODULE)
    sys.exit(main())
