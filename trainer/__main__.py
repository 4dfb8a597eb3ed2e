"""`python -m trainer`: fit, evaluate, gate. `python -m pynumdraw.store` lists and prunes versions.

Exit codes: 0 done; 1 the gate says no, or an unexpected error; 2 refused (one sentence on stderr, nothing on stdout);
130 and 143 stopped by Ctrl-C and by SIGTERM.
"""

import argparse
import multiprocessing
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import FrameType

from pynumdraw.store import ModelStore, SigningKey, StoreError
from trainer.config import RECIPES
from trainer.dataset import load_mnist
from trainer.errors import Refused


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    args = _parser().parse_args(argv)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        return args.run(args)
    except _Stopped as exc:
        signal.setitimer(signal.ITIMER_REAL, 0)
        print("stopped; nothing was published", file=sys.stderr)
        return exc.exit_code
    except (Refused, StoreError) as exc:
        print(exc, file=sys.stderr)
        return 2
    except OSError as exc:
        print(f"{exc.filename or 'trainer'}: {exc.strerror or exc}", file=sys.stderr)
        return 2


def _fit(args: argparse.Namespace) -> int:
    signing_key = SigningKey(args.signing_key, args.signing_certificate) if args.signing_key else None
    store = ModelStore(args.store, args.name, signing_key=signing_key)
    if args.if_empty and (versions := store.versions()):
        print(f"{store.folder} holds version {versions[-1]} already; nothing to do")
        return 0
    with store.next_version():
        pass  # raises now, not after the training, where the store cannot be written to
    mnist = load_mnist(args.data)  # before TensorFlow is imported, so that wrong data is refused at once
    recipe = replace(RECIPES[args.recipe], **({} if args.prior is None else {"prior": args.prior}))
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # the default on some CPUs: batches run a third faster, single images slower
    _use_threads(recipe.threads)
    from trainer.fit import fit

    commit = os.environ.get("SOURCE_COMMIT")  # set in the image, which holds no repository
    number = fit(recipe, mnist, store, args.seed, args.if_empty, commit)
    print(f"{store.folder} holds version {store.versions()[-1]} already; nothing to do" if number is None else store.path(number))
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    store = ModelStore(args.store, args.name)
    versions = args.version or store.versions()[-1:]
    if not versions:
        raise Refused(f"{store.folder} holds no version; `python -m trainer fit` makes one")
    _use_threads(0)
    from trainer.card import table, write_card
    from trainer.drawings import load_drawings
    from trainer.evaluate import evaluate

    drawings = load_drawings(args.drawings) if args.drawings else None
    evaluations = [evaluate(store, version, args.data, drawings) for version in versions]
    heads, rows = table(evaluations)
    for name, *values, conditions in (heads, *rows):
        print(f"{name:55s}", *(f"{value:>27s}" for value in values), f"  {conditions}")
    if args.card:
        write_card(args.card, evaluations)
        print(f"wrote {args.card}", file=sys.stderr)
    return 0


def _gate(args: argparse.Namespace) -> int:
    store = ModelStore(args.store, args.name)
    if args.candidate == args.baseline:
        raise Refused(f"the candidate must be another version than the baseline, found {args.candidate} for both")
    for version in (args.baseline, args.candidate):
        store.verify(version)  # before TensorFlow is imported, so that a version that is not there is refused at once
    _use_threads(0)
    from trainer.gate import gate

    checks = gate(store, args.candidate, args.baseline, args.data, args.golden)
    passed = all(check.passed for check in checks)
    for check in checks:
        print(check)
    print(f"{'yes' if passed else 'no'}: version {args.candidate} {'may' if passed else 'may not'} replace version {args.baseline}")
    return 0 if passed else 1


def _use_threads(threads: int) -> None:
    """Import TensorFlow, which takes seconds, and set its number of threads, which must happen before it runs; 0: it chooses."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its log is about CPU features, not about this program
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trainer", description="IDX files in, a versioned SavedModel out.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--store", type=Path, default=Path("models"), help="root folder of the model store (models)")
    shared.add_argument("--name", default="digits", help="the model's name (digits)")
    data = argparse.ArgumentParser(add_help=False)
    data.add_argument("--data", type=Path, default=Path("data"), help="folder of the four MNIST files, raw or .gz (data)")

    fit = commands.add_parser("fit", parents=[shared, data], help="train and publish the next version")
    fit.add_argument("--recipe", choices=RECIPES, default="quick", help="quick: minutes; best: up to 30 on two cores (quick)")
    fit.add_argument("--seed", type=int, default=0, help="the same seed, machine and threads give the same model (0)")
    fit.add_argument("--prior", type=_share, help="share of digits among what people draw, 0 to 1, ends excluded (the recipe's: 0.8)")
    fit.add_argument("--if-empty", action="store_true", help="do nothing where a version exists")
    fit.add_argument(
        "--signing-key", type=Path, metavar="PEM", help="sign the version with this private key (`python -m pynumdraw.store keygen`)"
    )
    fit.add_argument("--signing-certificate", type=Path, metavar="PEM", help="the key's certificate, where an authority is trusted")
    fit.set_defaults(run=_fit)

    evaluate = commands.add_parser("evaluate", parents=[shared, data], help="measure versions: every metric of the model card")
    evaluate.add_argument(
        "--version", type=int, nargs="+", help="which versions; several of one recipe give mean and deviation (the newest)"
    )
    evaluate.add_argument("--drawings", type=Path, nargs="+", help="files of drawings by people, a JSON object a line, .gz or not")
    evaluate.add_argument("--card", type=Path, help="write the model card there, its pictures beside it")
    evaluate.set_defaults(run=_evaluate)

    gate = commands.add_parser("gate", parents=[shared, data], help="may a candidate replace a baseline? exit code 0 yes, 1 no")
    gate.add_argument("--candidate", type=int, required=True)
    gate.add_argument("--baseline", type=int, required=True)
    gate.add_argument("--golden", type=Path, default=Path("tests/golden/drawings"), help="golden drawings (tests/golden/drawings)")
    gate.set_defaults(run=_gate)
    return parser


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"found {text}, wanted a number between 0 and 1, ends excluded")
    return value


class _Stopped(BaseException):
    """The program was stopped by Ctrl-C or SIGTERM."""

    def __init__(self, signum: int) -> None:
        self.exit_code = 128 + signum


def _stop(signum: int, frame: FrameType | None) -> None:
    """Kill the workers and raise _Stopped, again every second: an exception that is raised in a callback of TensorFlow is lost there."""
    for worker in multiprocessing.active_children():
        worker.kill()
    signal.signal(signal.SIGALRM, lambda number, frame: _stop(signum, frame))
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    raise _Stopped(signum)


if __name__ == "__main__":
    sys.exit(main())
