"""Stage 1: path in, models out, saving excluded; jwst 3.0.0 with its defaults beside jwnb.

    python -m benchmarks.detector1                       a practice exposure made by jwnb.sim, 10 groups, full frame
    python -m benchmarks.detector1 --uncal FILE          any uncal; references from CRDS (CRDS_PATH, CRDS_CONTEXT, …)

Three rows: jwst; jwnb as for the first exposure of a configuration (nothing kept from an earlier one); jwnb on the next exposure.
"""

import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path

from benchmarks import pair


def run_jwst(arguments: list[str]) -> object:
    from jwst.pipeline import Detector1Pipeline

    warnings.simplefilter("ignore")
    uncal, offline = arguments
    steps = {} if offline == "-" else _overrides(uncal, offline)
    return Detector1Pipeline.call(uncal, steps=steps)


def run_jwnb(arguments: list[str]) -> object:
    import jwnb

    uncal, offline = arguments
    with jwnb.settings.using(progress=False), jwnb.references.use(offline=None if offline == "-" else Path(offline)):
        return jwnb.detector1(uncal)


def run_jwnb_first(arguments: list[str]) -> object:
    from jwnb.references.opening import cache
    from jwnb.stage1.dark import averages

    cache.clear()
    averages.clear()
    return run_jwnb(arguments)


def _overrides(uncal: str, offline: str) -> dict[str, dict[str, str]]:
    """Give jwst the files of the pinned set, step by step."""
    import jwnb
    from jwnb.pipelines import steps_of
    from jwnb.references import resolve

    ramp = jwnb.open(uncal)
    steps: dict[str, dict[str, str]] = {}
    with jwnb.references.use(offline=Path(offline)):
        for made in steps_of("detector1"):
            for p in made.references:
                answer = resolve(ramp, p.reference.reftype)
                steps.setdefault(made.name, {})[f"override_{p.reference.reftype}"] = str(answer.path) if answer.path else "N/A"
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uncal", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.uncal:
            arguments, environment = [str(given.uncal.resolve()), "-"], {}
        else:
            from jwnb import sim

            practice = sim.imaging(Path(folder), subarray="FULL", dithers=1, readpatt="MEDIUM8", ngroups=10)
            arguments = [str(practice.uncal[0]), str(practice.references)]
            environment = {"CRDS_SERVER_URL": "https://crds-serverless-mode.stsci.edu", "STPIPE_DISABLE_CRDS_STEPPARS": "true"}
        os.chdir(folder)
        measured = pair.compare(
            "benchmarks.detector1",
            ("jwst 3.0.0", "jwnb, first exposure", "jwnb, the next"),
            arguments,
            rounds=given.rounds,
            environment=environment,
        )
    pair.report(f"detector1, {Path(arguments[0]).name}", measured)


if __name__ == "__main__":
    if "--serve" in sys.argv:
        pair.serve({"jwst 3.0.0": run_jwst, "jwnb, first exposure": run_jwnb_first, "jwnb, the next": run_jwnb})
    else:
        main()
