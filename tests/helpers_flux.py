"""Rate products, flats, pixel areas and conversion tables for the tests of flat_field and photom."""

from typing import Any

import numpy as np
from helpers_wcs import exposure, reference_for
from stdatamodels.jwst.datamodels import (
    CubeModel,
    FgsImgPhotomModel,
    FlatModel,
    GuiderCalModel,
    ImageModel,
    NisImgPhotomModel,
    NrcImgPhotomModel,
    PixelAreaModel,
)
from stdatamodels.jwst.datamodels.dqflags import pixel

SIDE = 32


def rate(shape: tuple[int, ...] = (SIDE, SIDE), *, seed: int = 1, **where: Any) -> ImageModel | CubeModel:
    """A rate or rateints product with every array and some pixels that are NaN in one of them or DO_NOT_USE."""
    rng = np.random.default_rng(seed)
    model = exposure(shape, **where)
    model.data = rng.normal(10, 3, shape).astype(np.float32)
    model.var_poisson = rng.uniform(0.1, 1, shape).astype(np.float32)
    model.var_rnoise = rng.uniform(0.1, 1, shape).astype(np.float32)
    model.err = np.sqrt(model.var_poisson + model.var_rnoise)
    model.dq = rng.choice([0, 0, 0, 1, 2, 4], shape).astype(np.uint32)
    for k, name in enumerate(("data", "var_poisson", "var_rnoise")):
        getattr(model, name)[..., 3 + k, 5] = np.nan
    return model


def guide_star_rate(shape: tuple[int, int, int] = (3, SIDE, SIDE), *, seed: int = 2) -> GuiderCalModel:
    """Guide star images with errors and one DQ plane."""
    rng = np.random.default_rng(seed)
    model = GuiderCalModel(shape)
    model.meta.telescope, model.meta.instrument.name, model.meta.instrument.detector = "JWST", "FGS", "GUIDER1"
    model.meta.exposure.type = "FGS_TRACK"
    area = model.meta.subarray
    area.name, area.xstart, area.ystart, area.ysize, area.xsize = "SUB32", 1, 1, *shape[1:]
    area.fastaxis, area.slowaxis = -2, -1
    model.meta.observation.date, model.meta.observation.time = "2024-06-01", "12:00:00.000"
    model.meta.filename = "jw09999001001_gs-track_2024153120000_cal.fits"
    model.data = rng.normal(1000, 50, shape).astype(np.float32)
    model.err = rng.uniform(5, 20, shape).astype(np.float32)
    model.dq = rng.choice([0, 0, 0, 1], shape[1:]).astype(np.uint32)
    model.data[0, 7, 7] = np.nan
    return model


def flat(shape: tuple[int, int] = (SIDE, SIDE), *, instrument: str = "NIRCAM", seed: int = 3) -> FlatModel:
    """A flat with errors and every kind of pixel that cannot be used."""
    rng = np.random.default_rng(seed)
    model = FlatModel(
        data=rng.normal(1, 0.1, shape).astype(np.float32),
        err=rng.uniform(0.001, 0.05, shape).astype(np.float32),
        dq=np.zeros(shape, np.uint32),
    )
    model.data[1, 1], model.data[1, 2], model.err[1, 3] = np.nan, 0, np.nan
    model.dq[1, 4], model.dq[1, 5], model.dq[1, 6] = pixel["NO_FLAT_FIELD"], pixel["DO_NOT_USE"], pixel["UNRELIABLE_FLAT"]
    model.data[1, 7], model.err[1, 8] = -0.5, 0
    return placed(reference_for(instrument, model, "flat"), shape)


def area(shape: tuple[int, int] = (SIDE, SIDE), *, instrument: str = "NIRCAM", steradians: float | None = 2.31e-14) -> PixelAreaModel:
    """A pixel area map."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    model = PixelAreaModel(data=(1 + 1e-3 * (x - y)).astype(np.float32))
    model.meta.photometry.pixelarea_steradians = steradians
    model.meta.photometry.pixelarea_arcsecsq = None if steradians is None else steradians * (180 * 3600 / np.pi) ** 2
    return placed(reference_for(instrument, model, "area"), shape)


def placed(model: Any, shape: tuple[int, int]) -> Any:
    """Say that a reference lies in the detector's first corner."""
    corner = {"name": "FULL", "xstart": 1, "ystart": 1, "xsize": shape[1], "ysize": shape[0], "fastaxis": -1, "slowaxis": 2}
    model.meta.subarray = corner
    return model


_TABLES = {
    "NIRCAM": (
        NrcImgPhotomModel,
        ("filter", "pupil"),
        [("F200W", "CLEAR", 0.53, 0.01), ("F444W", "CLEAR", 1.7, 0.2), ("F200W", "F162M", 3.1, 0.1)],
    ),
    "NIRISS": (NisImgPhotomModel, ("filter", "pupil"), [("CLEAR", "F150W", 0.41, 0.01), ("F430M", "CLEARP", 0.2, 0.01)]),
    "FGS": (FgsImgPhotomModel, (), [(0.093, 0.001)]),
}


def photom_table(instrument: str = "NIRCAM", *, subarrays: tuple[str, ...] = (), twice: bool = False) -> Any:
    """A conversion table; with `subarrays` one row for each, `twice` every row double."""
    model_class, keys, rows = _TABLES[instrument]
    columns = [(key, "S12") for key in keys] + [("photmjsr", "f4"), ("uncertainty", "f4")]
    if subarrays:
        columns.insert(2, ("subarray", "S15"))
        rows = [(*row[:2], name, row[2] * (1 + k), row[3]) for row in rows for k, name in enumerate(subarrays)]
    model = model_class(phot_table=np.array(rows * (2 if twice else 1), dtype=columns))
    model.meta.photometry.pixelarea_steradians, model.meta.photometry.pixelarea_arcsecsq = 2.3e-14, 9.8e-4
    return reference_for(instrument, model, "photom")


LAWS: dict[str, dict[str, float]] = {
    "linear": {"t0": 59700.0, "lossperyear": 0.02},
    "exponential": {"t0": 59700.0, "amplitude": 0.1, "tau": 300.0, "const": 0.92},
    "powerlaw": {"t0": 59700.0, "year1value": 0.97, "tsoft": 1.0, "alpha": -0.02},
}


def add_decline(model: Any, *laws: str) -> Any:
    """Give each row of a conversion table coefficients of the named laws, different for every row."""
    table = model.phot_table
    keys = ["filter", "pupil"] if isinstance(model, NrcImgPhotomModel) else []
    for law in laws:
        coefficients = LAWS[law]
        rows = [
            (*(table[key][k] for key in keys), *(v * (1 + 0.01 * k) if name != "t0" else v for name, v in coefficients.items()))
            for k in range(len(table))
        ]
        columns = [(key, "S12") for key in keys] + [(name, "f4") for name in coefficients]
        setattr(model, f"timecoeff_{law}", np.array(rows, dtype=columns))
    return model
