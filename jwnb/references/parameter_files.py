"""Reading parameter files and parameter references into one form, and the names that both use."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asdf

from jwnb.errors import InputError, MissingReferenceError

__all__ = ["PIPELINE_CLASSES", "STEP_CLASSES", "pars_reftype", "read_config", "read_parameter_file"]

# Step of jwnb -> class of jwst: CRDS names parameter references after the class.
STEP_CLASSES: Mapping[str, str] = {
    "adaptive_trace_model": "AdaptiveTraceModelStep",
    "align_refs": "AlignRefsStep",
    "ami_analyze": "AmiAnalyzeStep",
    "ami_normalize": "AmiNormalizeStep",
    "assign_mtwcs": "AssignMTWcsStep",
    "assign_wcs": "AssignWcsStep",
    "background": "BackgroundStep",
    "badpix_selfcal": "BadpixSelfcalStep",
    "barshadow": "BarShadowStep",
    "charge_migration": "ChargeMigrationStep",
    "clean_flicker_noise": "CleanFlickerNoiseStep",
    "combine_1d": "Combine1dStep",
    "cube_build": "CubeBuildStep",
    "dark_current": "DarkCurrentStep",
    "dq_init": "DQInitStep",
    "emicorr": "EmiCorrStep",
    "extract_1d": "Extract1dStep",
    "extract_2d": "Extract2dStep",
    "firstframe": "FirstFrameStep",
    "flat_field": "FlatFieldStep",
    "fringe": "FringeStep",
    "gain_scale": "GainScaleStep",
    "group_scale": "GroupScaleStep",
    "guider_cds": "GuiderCdsStep",
    "hlsp": "HlspStep",
    "imprint": "ImprintStep",
    "ipc": "IPCStep",
    "jump": "JumpStep",
    "klip": "KlipStep",
    "lastframe": "LastFrameStep",
    "linearity": "LinearityStep",
    "master_background": "MasterBackgroundStep",
    "master_background_mos": "MasterBackgroundMosStep",
    "msa_flagging": "MSAFlagOpenStep",
    "outlier_detection": "OutlierDetectionStep",
    "pathloss": "PathLossStep",
    "persistence": "PersistenceStep",
    "photom": "PhotomStep",
    "picture_frame": "PictureFrameStep",
    "pixel_replace": "PixelReplaceStep",
    "ramp_fit": "RampFitStep",
    "refpix": "RefPixStep",
    "resample": "ResampleStep",
    "resample_spec": "ResampleSpecStep",
    "reset": "ResetStep",
    "residual_fringe": "ResidualFringeStep",
    "rscd": "RscdStep",
    "saturation": "SaturationStep",
    "skymatch": "SkyMatchStep",
    "source_catalog": "SourceCatalogStep",
    "spectral_leak": "SpectralLeakStep",
    "srctype": "SourceTypeStep",
    "stack_refs": "StackRefsStep",
    "straylight": "StraylightStep",
    "superbias": "SuperBiasStep",
    "targ_centroid": "TargCentroidStep",
    "tso_photometry": "TSOPhotometryStep",
    "tweakreg": "TweakRegStep",
    "wavecorr": "WavecorrStep",
    "wfs_combine": "WfsCombineStep",
    "wfss_contam": "WfssContamStep",
    "white_light": "WhiteLightStep",
}
PIPELINE_CLASSES: Mapping[str, str] = {
    "ami3": "Ami3Pipeline",
    "coron3": "Coron3Pipeline",
    "dark1": "DarkPipeline",
    "detector1": "Detector1Pipeline",
    "guider": "GuiderPipeline",
    "image2": "Image2Pipeline",
    "image3": "Image3Pipeline",
    "spec2": "Spec2Pipeline",
    "spec3": "Spec3Pipeline",
    "tso3": "Tso3Pipeline",
}
_STEP_OF_CLASS = {jwst: name for name, jwst in STEP_CLASSES.items()}
_PIPELINES = frozenset(PIPELINE_CLASSES.values())
# Names of jwst's pipelines for steps that jwnb calls otherwise.
_OTHER_NAMES = {"bkg_subtract": "background", "calwebb_wfs-image3": "wfs_combine"}
# What jwst's framework reads from the same file: names and places of files, hooks. Nothing of it changes a pixel.
_FRAMEWORK = frozenset(
    {
        "class", "name", "input_dir", "logcfg", "output_dir", "output_ext", "output_file", "output_use_index",
        "output_use_model", "post_hooks", "pre_hooks", "save_results", "search_output_file", "steps", "suffix", "update_version",
    }
)  # fmt: skip

Parameters = dict[str, dict[str, Any]]


def pars_reftype(name: str) -> str | None:
    """Return the type of a step's or pipeline's parameter reference, such as ``pars-jumpstep``; None if it has none."""
    jwst_class = STEP_CLASSES.get(name) or PIPELINE_CLASSES.get(name)
    return None if jwst_class is None else f"pars-{jwst_class.lower()}"


def read_config(path: Path) -> Parameters:
    """Read a step configuration in ASDF: parameters by step name, and those of a pipeline under its own.

    Parameters
    ----------
    path : Path
        ASDF file with ``class``, ``name``, ``parameters`` and, of a pipeline, ``steps``; or of the older form, with all in
        ``parameters``.

    Returns
    -------
    dict of str to dict
        Step name to option to value, without what only concerns jwst's reading and writing of files.

    Raises
    ------
    InputError
        The file is not such a configuration.
    """
    try:
        with asdf.open(path, lazy_load=False, memmap=False) as opened:
            tree = {key: opened.tree[key] for key in ("class", "name", "parameters", "steps") if key in opened.tree}
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as ASDF: {error}") from error
    if not isinstance(tree.get("parameters"), Mapping):
        raise InputError(f"{path} has no parameters: it is no parameter reference or exported configuration.")
    found: Parameters = {}
    _collect({**tree["parameters"], **tree}, found, path)
    return found


def read_parameter_file(given: str | os.PathLike[str] | Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, tuple[Any, str]]]:
    """Read what a caller gave as parameters: step name to option to (value, where it is from).

    Raises
    ------
    MissingReferenceError
        There is no such file.
    InputError
        It is neither ASDF nor TOML, or does not hold a table for each step.
    """
    if isinstance(given, Mapping):
        return _labelled(given, "parameters")
    path = Path(given).expanduser()
    if not path.is_file():
        raise MissingReferenceError(f"there is no parameter file {path}.")
    if path.suffix == ".asdf":
        return _labelled(read_config(path), f"parameter file {path.name}")
    if path.suffix != ".toml":
        raise InputError(f"{path}: a parameter file is .asdf (as jwst exports it) or .toml (a table for each step).")
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}.") from error
    return _labelled(tree, f"parameter file {path.name}")


def _labelled(tree: Mapping[str, Any], label: str) -> dict[str, dict[str, tuple[Any, str]]]:
    for step, options in tree.items():
        if not isinstance(options, Mapping):
            raise InputError(f"{label}: {step} = {options!r} is not a table of options; write a table for each step.")
    return {_OTHER_NAMES.get(step, step): {option: (value, label) for option, value in options.items()} for step, options in tree.items()}


def _collect(config: Mapping[str, Any], found: Parameters, path: Path) -> None:
    """Add a configuration and those of its steps to what was found."""
    name = _name(config)
    if name is None:
        raise InputError(f"{path} says neither class nor name, so its parameters belong to no step.")
    own = {key: _plain(value) for key, value in (config.get("parameters") or config).items() if key not in _FRAMEWORK | {"parameters"}}
    found.setdefault(name, {}).update(own)
    steps = config.get("steps") or ()
    # The older form maps names to steps; today's lists them.
    listed = [{"name": key, **value} for key, value in steps.items()] if isinstance(steps, Mapping) else steps
    for step in listed:
        _collect(step, found, path)


def _name(config: Mapping[str, Any]) -> str | None:
    jwst_class = str(config.get("class") or "").rsplit(".", 1)[-1]
    if jwst_class in _STEP_OF_CLASS:
        return _STEP_OF_CLASS[jwst_class]
    if jwst_class in _PIPELINES:
        return next(name for name, known in PIPELINE_CLASSES.items() if known == jwst_class)
    name = config.get("name")
    return None if name is None else _OTHER_NAMES.get(str(name), str(name))


def _plain(value: Any) -> Any:
    """Return a value without ASDF's wrappers."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple) or type(value).__name__ == "LazyList":
        return [_plain(part) for part in value]
    return value
