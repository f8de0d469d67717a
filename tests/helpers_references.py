"""Reference and parameter files made by the tests of the references."""

import asdf
import numpy as np

NY, NX = 40, 48


def prepared(model, *, x=1, y=1, nx=NX, ny=NY, instrument="NIRCAM", detector="NRCA1", keywords=True):
    """Fill in what a reference file says of itself."""
    model.meta.instrument.name, model.meta.instrument.detector = instrument, detector
    model.meta.description, model.meta.author, model.meta.pedigree = "made for a test", "tests", "DUMMY"
    model.meta.useafter, model.meta.reftype = "2015-01-01T00:00:00", "any"
    if keywords:
        model.meta.subarray.xstart, model.meta.subarray.ystart = x, y
        model.meta.subarray.xsize, model.meta.subarray.ysize = nx, ny
    return model


def numbered(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def write(path, **tree):
    asdf.AsdfFile(tree).write_to(path)
    return path


def jump_config(**parameters):
    return {"class": "jwst.jump.jump_step.JumpStep", "name": "jump", "parameters": parameters}
