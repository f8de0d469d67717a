"""Small exposures and references made in memory, shared by the tests."""

from typing import Any

import numpy as np
from stdatamodels.jwst.datamodels import ImageModel, JwstDataModel, RampModel, ReferenceFileModel


def set_keywords(model: JwstDataModel, shape: tuple[int, int], **changes: Any) -> JwstDataModel:
    """Give a model the keywords of a NIRCam NRCA1 image of `shape` (ny, nx); `changes` are dotted names under meta."""
    ny, nx = shape
    values = {
        "telescope": "JWST",
        "instrument.name": "NIRCAM",
        "instrument.detector": "NRCA1",
        "instrument.channel": "SHORT",
        "instrument.module": "A",
        "instrument.filter": "F200W",
        "instrument.pupil": "CLEAR",
        "exposure.type": "NRC_IMAGE",
        "exposure.readpatt": "RAPID",
        "observation.date": "2024-06-01",
        "observation.time": "12:00:00.000",
        "subarray.name": "SUB64",
        "subarray.xstart": 1,
        "subarray.ystart": 1,
        "subarray.xsize": nx,
        "subarray.ysize": ny,
        "subarray.fastaxis": -1,
        "subarray.slowaxis": 2,
    } | changes
    for name, value in values.items():
        node = model.meta
        *parents, last = name.split(".")
        for parent in parents:
            node = getattr(node, parent)
        setattr(node, last, value)
    return model


def make_ramp(data: np.ndarray, **changes: Any) -> RampModel:
    """Return a ramp of `data` (nints, ngroups, ny, nx) in DN with the keywords that stage 1 needs."""
    nints, ngroups, ny, nx = data.shape
    ramp = RampModel(data=data.astype(np.float32))
    exposure = {
        "exposure.nints": nints,
        "exposure.ngroups": ngroups,
        "exposure.nframes": 1,
        "exposure.groupgap": 0,
        "exposure.frame_time": 10.0,
        "exposure.group_time": 10.0,
        "exposure.frame_divisor": 1,
        "filename": "jw00001001001_01101_00001_nrca1_uncal.fits",
    }
    set_keywords(ramp, (ny, nx), **(exposure | changes))
    return ramp


def make_image(data: np.ndarray, **changes: Any) -> ImageModel:
    """Return a rate image of `data` (ny, nx) in DN/s with unit errors."""
    ny, nx = data.shape
    image = ImageModel(data=data.astype(np.float32), err=np.ones((ny, nx), np.float32), dq=np.zeros((ny, nx), np.uint32))
    set_keywords(image, (ny, nx), **({"filename": "jw00001001001_01101_00001_nrca1_rate.fits"} | changes))
    return image


def make_reference(model_class: type[ReferenceFileModel], shape: tuple[int, int], reftype: str, **arrays: np.ndarray) -> Any:
    """Return a reference model with the keywords that reference files must have."""
    model = model_class(**arrays)
    ny, nx = shape
    model.meta.telescope = "JWST"
    model.meta.instrument.name = "NIRCAM"
    model.meta.instrument.detector = "NRCA1"
    model.meta.description = "made by a test"
    model.meta.reftype = reftype.upper()
    model.meta.author = "jwnb tests"
    model.meta.pedigree = "DUMMY"
    model.meta.useafter = "2015-01-01T00:00:00"
    if "subarray" in model.schema["properties"]["meta"]["properties"] or model.meta.hasattr("subarray"):
        model.meta.subarray.name = "SUB64"
        model.meta.subarray.xstart, model.meta.subarray.ystart = 1, 1
        model.meta.subarray.xsize, model.meta.subarray.ysize = nx, ny
    return model


def freeze(model: JwstDataModel) -> JwstDataModel:
    """Make every array of a model read-only, so that a step that writes into its input fails."""
    for value in model.instance.values():
        if isinstance(value, np.ndarray) and value.dtype.names is None:
            value.flags.writeable = False
    return model
