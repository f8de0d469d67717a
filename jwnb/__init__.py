"""jwnb: JWST calibration, stages 1 to 3, as composable functions for notebooks.

Names are loaded when they are first used, so that ``import jwnb`` is quick; what there is stands in ``__init__.pyi``.
"""

import logging as _logging
import sys as _sys

import lazy_loader as _lazy

from jwnb._version import __version__

__getattr__, __dir__, _names = _lazy.attach_stub(__name__, __file__)
__all__ = [*_names, "__version__"]  # noqa: PLE0604 - the names stand in the stub

_logging.getLogger("jwnb").addHandler(_logging.NullHandler())


def _show_in_notebooks() -> None:
    """Give the standard models their cards, where Python runs inside IPython."""
    interactive = _sys.modules.get("IPython")
    shell = interactive.get_ipython() if interactive else None
    if shell is not None:
        from jwnb.display import register

        register(shell)


_show_in_notebooks()
