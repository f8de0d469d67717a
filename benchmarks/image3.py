"""Stage 3: paths in, models out, saving excluded; jwst 3.0.0 with its defaults beside jwnb.

    python -m benchmarks.image3                       practice images made by jwnb.sim: full frame, four dithers
    python -m benchmarks.image3 --cal FILE…           any cal images; references from CRDS (CRDS_PATH, CRDS_CONTEXT, …)
    python -m benchmarks.image3 --cal FILE… --memory  jwnb alone, on these images and on three times as many

Rows: jwst; jwst with interpolated pixel maps; jwnb; jwnb without worker processes. Memory is that of a package's process and its
workers together; what workers share is counted for each.
"""

import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path

from astropy.io import fits

from benchmarks import pair


def run_jwst(paths: list[str], **resample: object) -> object:
    from jwst.pipeline import Image3Pipeline

    warnings.simplefilter("ignore")
    interpolated = {"resample": resample, "outlier_detection": resample} if resample else {}
    # Without save_results the pipeline throws its catalogue away, so it is made all the same.
    return Image3Pipeline.call(paths, steps=interpolated)


def run_jwst_interpolated(paths: list[str]) -> object:
    return run_jwst(paths, pixmap_stepsize=10)


def run_jwnb(paths: list[str]) -> object:
    import jwnb

    warnings.simplefilter("ignore")
    with jwnb.settings.using(progress=False):
        return jwnb.image3(paths)


def run_jwnb_alone(paths: list[str]) -> object:
    import jwnb

    with jwnb.settings.using(workers=1):
        return run_jwnb(paths)


def practice_images(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Make cal images and a CRDS cache of their references; return the paths and the environment that names the cache."""
    sys.path.insert(0, str(pair.ROOT / "tests"))
    from conformance.peer_crds import CONTEXT, SERVERLESS, write_cache

    import jwnb
    from jwnb import sim

    practice = sim.imaging(folder / "practice", subarray="FULL", dithers=4, readpatt="MEDIUM8", ngroups=5)
    paths = []
    with jwnb.references.use(offline=practice.references):
        for uncal in practice.uncal:
            paths += jwnb.image2(jwnb.detector1(uncal).rate, skip=("resample",)).save(folder / "cal")
    cache = write_cache(folder / "crds", practice.references)
    return [str(p) for p in paths], {"CRDS_PATH": str(cache), "CRDS_SERVER_URL": SERVERLESS, "CRDS_CONTEXT": CONTEXT}


def three_times(paths: list[str], folder: Path) -> list[str]:
    """Copy images under two more sets of exposure numbers."""
    more = []
    for turn in (1, 2):
        for k, path in enumerate(paths):
            copy = folder / f"{turn}{Path(path).name}"
            with fits.open(path) as hdus:
                hdus[0].header["EXPOSURE"] = f"{100 * turn + k:05d}"
                hdus.writeto(copy)
            more.append(str(copy))
    return [*paths, *more]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cal", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths, environment = ([str(p.resolve()) for p in given.cal], {}) if given.cal else practice_images(folder)
        os.chdir(folder)
        if given.memory:
            for images in (paths, three_times(paths, folder)):
                measured = pair.compare("benchmarks.image3", ("jwnb", "jwnb, one process"), images, rounds=1, environment=environment)
                pair.report(f"image3, {len(images)} images", measured)
            return
        measured = pair.compare("benchmarks.image3", tuple(JOBS), paths, rounds=given.rounds, environment=environment)
    pair.report(f"image3, {len(paths)} images", measured)


JOBS = {"jwst 3.0.0": run_jwst, "jwst, interpolated": run_jwst_interpolated, "jwnb": run_jwnb, "jwnb, one process": run_jwnb_alone}

if __name__ == "__main__":
    if "--serve" in sys.argv:
        pair.serve(JOBS)
    else:
        main()
