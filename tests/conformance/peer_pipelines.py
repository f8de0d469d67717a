"""Run whole pipelines of `jwst` quietly, and compare the files of two packages."""

import contextlib
import gc
import logging
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

import jwnb

Steps = Mapping[str, Mapping[str, Any]]
EXACT_MAPS: Steps = {"resample": {"pixmap_tolerance": 0}}  # every pixel's place computed, as `jwst` does


@dataclass(frozen=True)
class Both:
    """What the two packages wrote of one exposure, each in a folder of its own."""

    ours: Path
    theirs: Path

    def pair(self, suffix: str) -> tuple[Path, Path]:
        """Return our file and theirs of one product."""
        return self.our(suffix), _only(self.theirs, suffix)

    def our(self, suffix: str) -> Path:
        """Return our file of one product."""
        return _only(self.ours, suffix)

    @property
    def suffixes(self) -> tuple[set[str], set[str]]:
        """The suffixes of what each wrote."""
        return tuple({p.stem.rsplit("_", 1)[1] for p in folder.iterdir()} for folder in (self.ours, self.theirs))  # type: ignore[return-value]


def _only(folder: Path, suffix: str) -> Path:
    found = list(folder.glob(f"*_{suffix}.fits"))
    return found[0] if len(found) == 1 else pytest.fail(f"{len(found)} files *_{suffix}.fits in {sorted(folder.iterdir())}")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence what `jwst` says, and leave out its collection of garbage after each step, which takes most of its time here."""
    from stpipe import step

    disabled = logging.root.manager.disable
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        patch.setattr(step, "gc", SimpleNamespace(collect=int))
        try:
            yield
        finally:
            logging.disable(disabled)
            gc.collect()  # here, where what it says of files left open is ignored


def run_jwst(pipeline: str, source: Any, folder: Path, steps: Steps | None = None, **options: Any) -> Any:
    """Run a pipeline of `jwst` by its class name; its products go to `folder`."""
    import jwst.pipeline

    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        made = getattr(jwst.pipeline, pipeline).call(
            str(source) if isinstance(source, Path) else source, steps={k: dict(v) for k, v in (steps or {}).items()},
            output_dir=str(folder), save_results=True, configure_log=False, **options,
        )  # fmt: skip
    return made


def run_stage1(source: Path, folder: Path, steps: Steps | None = None, *, ramp: bool = False) -> Both:
    """Run detector1 of both packages with the same options (``skip`` among them, as `jwst` has it)."""
    steps = steps or {}
    run_jwst("Detector1Pipeline", source, folder / "theirs", steps, save_calibrated_ramp=ramp)
    jwnb.detector1(source, keep=("ramp",) if ramp else (), **chosen(steps)).save(folder / "ours")
    return Both(folder / "ours", folder / "theirs")


def chosen(steps: Steps, more: Steps | None = None) -> dict[str, Any]:
    """Say options of the pipelines of `jwst` as those of jwnb, where steps to leave out are named apart; and more options of jwnb."""
    skip = tuple(name for name, options in steps.items() if options.get("skip"))
    return {"skip": skip, "options": {**{name: options for name, options in steps.items() if name not in skip}, **(more or {})}}


def arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays and tables of a file by extension name (``SCI`` or ``SCI,2``), in the machine's byte order."""
    found = {}
    with fits.open(path, memmap=False) as hdus:
        for hdu in hdus[1:]:
            if hdu.name != "ASDF" and hdu.data is not None:
                data = np.asarray(hdu.data)
                found[hdu.name if hdu.ver == 1 else f"{hdu.name},{hdu.ver}"] = data.astype(data.dtype.newbyteorder("="))
    return found


@dataclass(frozen=True)
class Allowed:
    """How far floats of two files may differ: `rtol` of the value, and so much of the error bar, or of `atol`.

    The counts of a ramp are float32: 10⁴ DN are rounded to 5e-4 DN, some 1e-4 of the noise of a pixel. Both packages
    round every group, in the same places but for the order of sums (reference pixels, segments), so that slopes and what is made of
    them differ by less than 1e-5 of their error bar (seen: 8e-6), but where such a sum lies at the edge of a rounding and a
    count falls to either side: there by 1e-4 at most (seen: 5e-5, in 7 of 4 million pixels). Flags are compared exactly.
    """

    sigmas: float = 1e-5
    rtol: float = 1e-6  # eight roundings: images are drizzled alone and added
    atol: float = 5e-4  # DN, of counts, which have no error bar


# The error bar that goes with an array, and its power: variances that hold the signal follow it, those of the read noise do not.
_BAR = {
    "SCI": ("ERR", 1), "ERR": ("ERR", 1), "VAR_POISSON": ("ERR", 2), "VAR_FLAT": ("ERR", 2), "SLOPE": ("SIGSLOPE", 1),
    "YINT": ("SIGYINT", 1),
}  # fmt: skip
_COUNTS = {"PEDESTAL", "CRMAG", "ZEROFRAME"}


def assert_same_arrays(both: Both, suffix: str, allowed: Allowed | None = None, *, leave_out: Collection[str] = ()) -> None:
    """Compare the arrays of one product: their names, types and shapes, flags, tables and NaN exactly, other floats as allowed.

    `leave_out` names columns of tables that are not compared.
    """
    allowed = allowed or Allowed()
    ours, theirs = (arrays(path) for path in both.pair(suffix))
    assert list(ours) == list(theirs)
    for name, expected in theirs.items():
        if expected.dtype.names:
            assert_same_table(ours[name], expected, leave_out)
            continue
        assert (ours[name].dtype, ours[name].shape) == (expected.dtype, expected.shape), name
        if expected.dtype.kind != "f":
            np.testing.assert_array_equal(ours[name], expected, err_msg=name)
            continue
        np.testing.assert_array_equal(np.isfinite(ours[name]), np.isfinite(expected), err_msg=name)
        bar, power = _BAR.get(name, (None, 0))
        limit = allowed.rtol * np.abs(expected.astype(np.float64))
        if bar in theirs:
            limit += allowed.sigmas * np.abs(theirs[bar].astype(np.float64)) ** power
        elif bar is not None or name in _COUNTS:
            limit += allowed.atol
        assert_within(ours[name], expected, limit, name)


def assert_same_table(ours: np.ndarray, theirs: np.ndarray, leave_out: Collection[str]) -> None:
    """Compare two tables column by column: order, types and values."""
    names = [name for name in theirs.dtype.names if name not in leave_out]
    assert [name for name in ours.dtype.names if name not in leave_out] == names
    for name in names:
        assert ours.dtype[name] == theirs.dtype[name], name
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def assert_within(ours: np.ndarray, theirs: np.ndarray, limit: np.ndarray, name: str) -> None:
    """Compare what is finite, pixel by pixel; in five of a million, or one, a count may be rounded otherwise: ten times the limit."""
    seen = np.isfinite(theirs)
    off = np.abs(ours[seen].astype(np.float64) - theirs[seen])
    bad = int((off > limit[seen]).sum())
    worst = (off / np.maximum(limit[seen], 1e-300)).max(initial=0.0)
    assert bad <= max(1, 5e-6 * off.size) and worst <= 10, f"{name}: {bad} of {off.size} differ, by up to {worst:.3g} times what is allowed"
