"""A practice field of misaligned exposures with sky steps and cosmic rays, and image3 of both packages on it."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from conformance.peer_crds import crds_cache, write_cache
from conformance.peer_pipelines import Both, Steps, chosen, run_jwst

import jwnb
from jwnb import sim
from jwnb.errors import CalibrationWarning

CATALOGUE = "the field's catalogue"  # stands for its path in the options below
ALIGNED = {"abs_refcat": CATALOGUE, "abs_minobj": 10}
EXACT = {"resample": {"pixmap_tolerance": 0}, "outlier_detection": {"pixmap_tolerance": 0}}  # every pixel's place computed, as `jwst` does
SKY_STEP = 0.5  # MJy/sr from one exposure to the next


@dataclass(frozen=True)
class Case:
    """One call of image3: what it is given, with which options, and what it warns of."""

    steps: Steps = field(default_factory=dict)
    given: str = "association"  # or "list", "first"
    observation: str = "one detector"
    warns: str = ""


CASES = {
    "defaults": Case(),
    "catalogue, sky subtracted": Case({"tweakreg": ALIGNED, "skymatch": {"skymethod": "global+match", "subtract": True}}, given="list"),
    "compared as they are": Case(
        {
            "skymatch": {"skymethod": "local", "skystat": "median"},
            "outlier_detection": {"resample_data": False, "snr": "6.0 5.0"},
            "source_catalog": {"skip": True},
        },
        warns="pile up",
    ),
    "not cleaned, other grid": Case(
        {
            "tweakreg": {"fitgeometry": "shift", "starfinder": "segmentation"},
            "skymatch": {"skip": True},
            "outlier_detection": {"skip": True},
            "resample": {"pixel_scale": 0.05, "kernel": "turbo", "pixfrac": 0.8, "rotation": 20.0},
            "source_catalog": {"snr_threshold": 10.0},
        },
    ),
    "one exposure": Case(given="first"),
    "one exposure, catalogue": Case({"tweakreg": ALIGNED}, given="first"),
    "two detectors": Case({"tweakreg": {"minobj": 8, "snr_threshold": 5.0}}, observation="two detectors"),
}  # fmt: skip


def starry(*, count: int, step: float, range_of_flux: tuple[float, float]) -> Table:
    """Return `count` by `count` stars, no two closer than `step` less 0.4 arcsec."""
    rng = np.random.default_rng(3)
    places = (np.arange(count) - (count - 1) / 2) * step
    x, y = (axis.ravel() + rng.uniform(-0.2, 0.2, count * count) for axis in np.meshgrid(places, places))
    flux = rng.permutation(np.geomspace(*range_of_flux, count * count))
    return Table({"ra": 150.1 + x / 3600 / np.cos(np.radians(2.2)), "dec": 2.2 + y / 3600, "flux": flux})


OBSERVATIONS: dict[str, dict[str, Any]] = {
    "one detector": {
        "detector": "NRCALONG", "filter": "F356W", "dithers": [(0.0, 0.0), (0.93, 0.41), (-0.52, 0.77), (0.38, -0.86)],
        "stars": starry(count=8, step=1.55, range_of_flux=(4e-4, 3e-5)),
    },
    "two detectors": {
        "detector": ("NRCA1", "NRCA3"), "filter": "F200W", "dithers": [(0.0, 0.0), (0.31, 0.22)],
        "stars": starry(count=20, step=1.25, range_of_flux=(4e-4, 6e-5)),
    },
}  # fmt: skip


@dataclass(frozen=True)
class Field:
    """Calibrated exposures, a catalogue of the sky, and a cache with their references."""

    cal: tuple[Path, ...]
    catalogue: Path
    crds: Path

    def association(self) -> Path:
        """Return an association of the exposures."""
        band = "f356w" if "long" in self.cal[0].name else "f200w"
        tree = {
            "asn_type": "image3", "asn_rule": "Asn_Lv3Image", "asn_id": "a3001", "asn_pool": "practice_pool.csv", "program": "09999",
            "target": "1", "products": [{
                "name": f"jw09999-a3001_t001_nircam_clear-{band}",
                "members": [{"expname": os.fspath(path), "exptype": "science"} for path in self.cal],
            }],
        }  # fmt: skip
        path = self.crds.parent / "jw09999-a3001_image3_00001_asn.json"
        path.write_text(json.dumps(tree))
        return path


def observe_field(folder: Path, **settings: Any) -> Field:
    """Observe, calibrate, and add steps of the sky and what the search for jumps might have left of cosmic rays."""
    made = sim.imaging(
        folder / "observation", subarray="SUB160", readpatt="BRIGHT2", ngroups=4, galaxies=2, sky=1.0, pointing_error=0.1,
        roll_error=0.02, cosmic_rays=50.0, seed=21, **settings,
    )  # fmt: skip
    rng = np.random.default_rng(5)
    cal = []
    with jwnb.references.use(offline=made.references):
        for k, uncal in enumerate(made.uncal):
            image = jwnb.image2(jwnb.detector1(uncal).rate, skip=("resample",)).cal
            data = image.data + np.float32(SKY_STEP * k)
            y, x = rng.integers(0, data.shape[0], (2, 40))
            data[y, x] += (rng.uniform(10, 100, 40) * image.err[y, x]).astype(np.float32)
            image.data = data
            cal.append(jwnb.save(image, folder / image.meta.filename))
    stars = made.truth.stars
    catalogue = folder / "sky.ecsv"
    Table({"RA": stars["ra"], "DEC": stars["dec"]}).write(catalogue)
    return Field(tuple(cal), catalogue, write_cache(folder / "crds", made.references))


class Mosaics:
    """What image3 of each package makes, made when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fields: dict[str, Field] = {}
        self.made: dict[str, Both] = {}

    def field(self, observation: str = "one detector") -> Field:
        """Return an observation's exposures."""
        if observation not in self.fields:
            self.fields[observation] = observe_field(self.folder / observation.replace(" ", "-"), **OBSERVATIONS[observation])
        return self.fields[observation]

    def of(self, name: str) -> Both:
        """Return what the two packages wrote in one case."""
        if name not in self.made:
            self.made[name] = self._run(CASES[name], self.folder / name.replace(",", "").replace(" ", "-"))
        return self.made[name]

    def _run(self, case: Case, folder: Path) -> Both:
        seen = self.field(case.observation)
        given = {"association": seen.association(), "list": [os.fspath(path) for path in seen.cal], "first": seen.cal[0]}[case.given]
        steps = {name: {k: _filled(v, seen) for k, v in options.items()} for name, options in case.steps.items()}
        with crds_cache(seen.crds):
            run_jwst("Image3Pipeline", given, folder / "theirs", steps)
            if case.warns:
                with pytest.warns(CalibrationWarning, match=case.warns):
                    made = jwnb.image3(given, **with_exact_maps(steps, case))
            else:
                made = jwnb.image3(given, **with_exact_maps(steps, case))
            made.save(folder / "ours")
        return Both(folder / "ours", folder / "theirs")


def with_exact_maps(steps: Steps, case: Case) -> dict[str, Any]:
    """Return the options for jwnb, with every pixel of the maps computed in steps that are done."""
    exact = {
        name: {**steps.get(name, {}), **more}
        for name, more in EXACT.items()
        if not steps.get(name, {}).get("skip") and not (name == "outlier_detection" and case.given == "first")
    }
    return chosen(steps, exact)


def _filled(value: Any, seen: Field) -> Any:
    return os.fspath(seen.catalogue) if value == CATALOGUE else value


def pairs(both: Both, ending: str) -> list[tuple[Path, Path]]:
    """Return our file and theirs of every product with that ending, in the order of their names."""
    ours, theirs = (sorted(folder.glob(f"*{ending}")) for folder in (both.ours, both.theirs))
    return list(zip(ours, theirs, strict=True))
