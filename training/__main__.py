"""python -m training inspect | fit | evaluate | compare | calibrate, and of translators: inspect-parallel |
fit-translator | evaluate-translator.

torchrun runs fit, evaluate and fit-translator on several devices.

The inspections and `--check` run without torch, which takes seconds to import: each command is imported when it is run.
"""

import argparse
import io
import sys
from contextlib import nullcontext, redirect_stderr

from captioner.commands.extras import needs_extra
from captioner.errors import CaptionerError, ConfigError, is_full_disk
from captioner.ranks import Ranks
from training.arguments import INTERRUPTED, make_parser
from training.fit_command import check, fit

INSPECTIONS = ("inspect", "inspect-parallel")
FULL_DISK = "the disk is full: make room, then go on with --resume; what was written before is whole"


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, 2 for an error that the user can correct, 130 when interrupted."""
    ranks = Ranks.from_environment()
    with nullcontext() if ranks.local_rank == 0 else redirect_stderr(io.StringIO()):  # one rank prints usage errors
        options = make_parser().parse_args(arguments)
    try:
        if ranks.size > 1 and not options.on_many_devices:
            raise ConfigError("this command runs as one process: start it without torchrun")
        with needs_extra("training"):
            if options.command in INSPECTIONS or getattr(options, "check", False):
                return _run_without_torch(options) if ranks.leads else 0
            from training.distributed import connect, disconnect

            with ranks.guarded():
                if options.on_many_devices:
                    ranks, options.device = connect(ranks, options.device)
                status = _run_command(options, ranks)
                disconnect(ranks)
            return status
    except CaptionerError as error:
        ranks.print_once(f"error: {error}")
        return 2
    except OSError as error:
        if not is_full_disk(error):
            raise
        ranks.print_once(f"error: {FULL_DISK}")
        return 2
    except KeyboardInterrupt:
        ranks.print_once("stopped at once: what was written is whole")
        return INTERRUPTED


def _run_without_torch(options: argparse.Namespace) -> int:
    match options.command:
        case "inspect":
            from training.inspection.command import inspect

            return inspect(options)
        case "inspect-parallel":
            from training.translation.inspect import inspect as inspect_parallel

            return inspect_parallel(options)
        case "fit-translator":
            from training.translation.fit_options import check as check_translator

            return check_translator(options)
        case _:
            return check(options)


def _run_command(options: argparse.Namespace, ranks: Ranks) -> int:
    match options.command:
        case "fit":
            return fit(options, ranks)
        case "evaluate":
            from training.evaluation.commands import evaluate

            return evaluate(options, ranks)
        case "compare":
            from training.evaluation.metrics import one_meteor

            with one_meteor:
                one_meteor.start()  # while the imports and the captioners load, on one core
                from training.evaluation.commands import compare

                return compare(options, ranks)
        case "fit-translator":
            from training.translation.commands import fit as fit_translator

            return fit_translator(options, ranks)
        case "evaluate-translator":
            from training.translation.commands import evaluate as evaluate_translator

            return evaluate_translator(options, ranks)
        case _:
            from training.confidence.command import calibrate

            return calibrate(options, ranks)


if __name__ == "__main__":
    sys.exit(main())
