"""`python -m tests.support.quick_service ...`: the service or its worker, with trainings that run without Java.

Used by tests that kill processes; test_a_data_set_becomes_a_promoted_captioner in jobs/test_training.py and
the tests of the page train as users do.
"""

import functools
import sys

from service import training_process
from service.__main__ import main
from service.jobs import worker

MODULE = "tests.support.quick_service"

if __name__ == "__main__":
    training_process.MODULE = "tests.support.quick_training"
    worker.WorkerProcess = functools.partial(worker.WorkerProcess, module=MODULE)
    sys.exit(main())
