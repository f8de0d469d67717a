"""jwnb: JWST calibration, stages 1 to 3, as composable functions for notebooks.

Names are loaded when they are first used, so that ``import jwnb`` is quick; what there is stands in ``__init__.pyi``.
"""

import logging as _logging

import lazy_loader as _lazy

from jwnb._version import __version__

__getattr__, __dir__, _names = _lazy.attach_stub(__name__, __file__)
__all__ = [*_names, "STEP_NAMES", "__version__"]  # noqa: PLE0604 - the names stand in the stub

# In the order of the pipelines; each is a module-level function of the package.
STEP_NAMES = (
    "group_scale", "dq_init", "saturation", "ipc", "superbias", "refpix", "linearity", "dark_current", "jump", "ramp_fit",
    "gain_scale", "guider_cds", "assign_wcs", "flat_field", "photom", "resample",
)  # fmt: skip

_logging.getLogger("jwnb").addHandler(_logging.NullHandler())
