"""Stage 1: path in, models out, saving excluded; jwst 3.0.0 with its defaults beside jwnb.

    python -m benchmarks.detector1                       a practice exposure made by jwnb.sim, full frame, 10 groups
    python -m benchmarks.detector1 --uncal FILE          any uncal; references from CRDS (CRDS_PATH, CRDS_CONTEXT, …)

Both packages take their references from the same CRDS cache. Three rows: jwst; jwnb as for the first exposure of a configuration
(nothing kept from an earlier one); jwnb on the next exposure.
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
    return Detector1Pipeline.call(arguments[0])


def run_jwnb(arguments: list[str]) -> object:
    import jwnb

    with jwnb.settings.using(progress=False):
        return jwnb.detector1(arguments[0])


def run_jwnb_first(arguments: list[str]) -> object:
    from jwnb.references.opening import cache
    from jwnb.stage1.dark import averages

    cache.clear()
    averages.clear()
    return run_jwnb(arguments)


def practice_exposure(folder: Path) -> tuple[Path, dict[str, str]]:
    """Make a practice exposure and a CRDS cache of its references; return its path and the environment that names the cache."""
    sys.path.insert(0, str(pair.ROOT / "tests"))
    from conformance.peer_crds import CONTEXT, SERVERLESS, write_cache

    from jwnb import sim

    practice = sim.imaging(folder / "practice", subarray="FULL", dithers=1, readpatt="MEDIUM8", ngroups=10)
    cache = write_cache(folder / "crds", practice.references)
    return practice.uncal[0], {"CRDS_PATH": str(cache), "CRDS_SERVER_URL": SERVERLESS, "CRDS_CONTEXT": CONTEXT}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uncal", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    packages = ("jwst 3.0.0", "jwnb, first exposure", "jwnb, the next")
    with tempfile.TemporaryDirectory() as folder:
        uncal, environment = (given.uncal.resolve(), {}) if given.uncal else practice_exposure(Path(folder))
        os.chdir(folder)
        measured = pair.compare("benchmarks.detector1", packages, [str(uncal)], rounds=given.rounds, environment=environment)
    pair.report(f"detector1, {uncal.name}", measured)


if __name__ == "__main__":
    if "--serve" in sys.argv:
        pair.serve({"jwst 3.0.0": run_jwst, "jwnb, first exposure": run_jwnb_first, "jwnb, the next": run_jwnb})
    else:
        main()
