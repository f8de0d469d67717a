"""The pipelines: their order as data, and what goes in and comes out."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stdatamodels.jwst.datamodels import CubeModel, GuiderRawModel, ImageModel, JwstDataModel, RampModel

from jwnb import associations, models
from jwnb.errors import InputError, ParameterError, WrongExposureError
from jwnb.exposure import check_groups, exposure_type, pipelines_for
from jwnb.models import Exposures, PathLike, product_name, share
from jwnb.parameters import nearest
from jwnb.plan import Entry, make_plan, walk
from jwnb.products import Products
from jwnb.step import Step, collecting_log, describe, find_step

__all__ = ["ORDERS", "PIPELINE_NAMES", "detector1", "find_pipeline", "guider", "image2", "image3", "steps_of"]

Options = Mapping[str, Mapping[str, Any]] | None

# Today's order (jwst 3.0.0). Steps that are off, or not there yet, stay in the list so that the ledger names them.
NEAR_INFRARED = (
    Entry("group_scale"),
    Entry("dq_init"),
    Entry("saturation"),
    Entry("ipc"),
    Entry("superbias"),
    Entry("refpix"),
    Entry("linearity"),
    Entry("dark_current"),
    Entry("charge_migration", on=False),
    Entry("jump"),
    Entry("picture_frame", on=False),
    Entry("clean_flicker_noise", on=False),
    Entry("persistence", on=False),
    Entry("ramp_fit"),
    Entry("gain_scale"),
)
GUIDER = (Entry("dq_init"), Entry("guider_cds"), Entry("flat_field"))
IMAGE2 = (Entry("background", status="bkg_subtract"), Entry("assign_wcs"), Entry("flat_field"), Entry("photom"), Entry("resample"))
IMAGE3 = (Entry("tweakreg"), Entry("skymatch"), Entry("outlier_detection"), Entry("resample"), Entry("source_catalog"))


def detector1(
    exposure: JwstDataModel | PathLike,
    /,
    *,
    skip: Sequence[str] = (),
    run: Sequence[str] = (),
    options: Options = None,
    keep: Sequence[str] = (),
) -> Products:
    """Turn raw ramps into count rates (stage 1, near infrared).

    Parameters
    ----------
    exposure : model or path
        An uncal or a ramp.
    skip : sequence of str
        Steps to leave out.
    run : sequence of str
        Steps to switch on that are off by default.
    options : mapping
        Step → {option or reference: value}; naming a step here switches it on too.
    keep : sequence of str
        Steps whose results to hold on to (``products.kept``); ``"ramp"`` keeps the calibrated ramp as a product.

    Returns
    -------
    Products
        ``rate``, ``rateints``; ``fitopt`` and ``ramp`` where asked for. DN/s.

    Raises
    ------
    WrongExposureError
        Not a ramp, or an exposure that this pipeline is not for.
    InputError, ParameterError, MissingReferenceError
        Before any pixel is touched.
    """
    ramp = _opened("detector1", exposure, RampModel, "an uncal or a ramp")
    if ramp.meta.instrument.name == "MIRI":
        raise WrongExposureError("detector1 is for the near-infrared detectors in this version; MIRI's own steps are not there yet.")
    check_groups(ramp)
    name, own = ramp.meta.filename, ramp is not exposure
    with collecting_log() as log:
        plan = make_plan("detector1", NEAR_INFRARED, ramp, skip=skip, run=run, options=options, keep=keep, also_keep=("ramp",))
        result, kept = walk(plan, ramp, catch={"ramp_fit": "ramp"} if "ramp" in plan.keep else None, own=own)
    if isinstance(result, RampModel):  # ramp_fit was left out
        made = {"ramp": result}
    else:
        made = {"ramp": kept.pop("ramp", None), "rate": result.rate, "rateints": result.rateints, "fitopt": result.fitopt}
    return Products("detector1", _named(made, name), kept=kept, log=tuple(log))


def guider(
    exposure: JwstDataModel | PathLike,
    /,
    *,
    skip: Sequence[str] = (),
    run: Sequence[str] = (),
    options: Options = None,
    keep: Sequence[str] = (),
) -> Products:
    """Turn a raw guide-star exposure of the FGS into count rates.

    Parameters
    ----------
    exposure : model or path
        A raw guider file: ID, ACQ1, ACQ2, TRACK or FINEGUIDE.
    skip, run, keep : sequence of str
        As for `detector1`.
    options : mapping
        As for `detector1`.

    Returns
    -------
    Products
        ``cal``, shape (nints, ny, nx), DN/s.
    """
    raw = _opened("guider", exposure, GuiderRawModel, "a raw guide-star exposure")
    with collecting_log() as log:
        plan = make_plan("guider", GUIDER, raw, skip=skip, run=run, options=options, keep=keep)
        result, kept = walk(plan, raw)
    return Products("guider", _named({"cal": result}, raw.meta.filename), kept=kept, log=tuple(log))


def image2(
    exposure: JwstDataModel | PathLike,
    /,
    *,
    skip: Sequence[str] = (),
    run: Sequence[str] = (),
    options: Options = None,
    keep: Sequence[str] = (),
) -> Products | list[Products]:
    """Put count rates on the sky, in MJy/sr (stage 2, imaging).

    Parameters
    ----------
    exposure : model or path
        A rate, a rateints, or a level-2 association. Its background members are the ``bkg_list`` of the step background, unless
        ``options`` gives another.
    skip, run : sequence of str
        As for `detector1`.
    options : mapping
        As for `detector1`. ``{"background": {"save_combined_background": True}}`` makes the mean background a product.
    keep : sequence of str
        As for `detector1`; ``"bsub"`` keeps the rate without background as a product.

    Returns
    -------
    Products
        ``cal`` and ``i2d`` of a rate, ``calints`` of a rateints; ``bsub`` or ``bsubints`` and ``combinedbackground`` where asked for;
        a list of Products for an association of several products.

    Raises
    ------
    InputError
        A product of the association has several science members.
    MissingFileError
        A member is missing; no product has been made then.
    """
    choices: dict[str, Any] = {"skip": skip, "run": run, "options": options, "keep": keep}
    if not _is_association(exposure):
        return _image2(exposure, None, "", **choices)
    asn = associations.load(exposure)
    for product in asn.products:
        Exposures(product.of("science") + product.of("background"))  # a missing file is found before the first product is made
        _check_one_science_member(asn, product)
    made = [_image2(p.of("science")[0], asn, p.name, backgrounds=p.of("background"), **choices) for p in asn.products]
    return made if len(made) > 1 else made[0]


def _image2(
    exposure: JwstDataModel | PathLike,
    asn: associations.Association | None,
    name: str,
    *,
    backgrounds: Sequence[Path] = (),
    **choices: Any,
) -> Products:
    rate = _opened("image2", exposure, (ImageModel, CubeModel), "a rate or rateints")
    rate = share(rate)
    rate.meta.asn.pool_name, rate.meta.asn.table_name = (asn.pool, asn.path.name) if asn is not None else ("singleton", "singleton")
    cube = isinstance(rate, CubeModel)
    not_now = {"resample": "integrations are not resampled"} if cube else {}
    choices["options"] = _with_members(backgrounds, choices["options"], choices["skip"])
    if not _names_backgrounds(choices["options"], rate):
        not_now["background"] = "no background members were given"
    with collecting_log() as log:
        plan = make_plan("image2", IMAGE2, rate, not_now=not_now, also_keep=("bsub",), **choices)
        catch = {"resample": "cal"} | ({"assign_wcs": "bsub"} if "bsub" in plan.keep else {})
        result, kept = walk(plan, rate, catch=catch)
    caught = {name: kept.pop(name) for name in ("cal", "bsub") if name in kept}
    calibrated = result if plan.left_out["resample"] else caught["cal"]
    made = {"calints" if cube else "cal": calibrated, "i2d": None if plan.left_out["resample"] else result}
    made = _of_background(made, kept, caught.get("bsub"), cube=cube)
    return Products("image2", _named(made, name or rate.meta.filename), kept=kept, log=tuple(log))


def _check_one_science_member(asn: associations.Association, product: associations.Product) -> None:
    members = product.of("science")
    if len(members) > 1:
        raise InputError(
            f"{asn.path}: the product {product.name!r} has {len(members)} science members ({', '.join(p.name for p in members)}), and a "
            "product of stage 2 is made from one. List each as the one science member of a product of its own."
        )


def _with_members(members: Sequence[Path], options: Any, skip: Any) -> Any:
    """Return the options with an association's background members, where the step is not left out; `make_plan` judges what was given."""
    given = {} if options is None else options
    usable = isinstance(given, Mapping) and isinstance(given.get("background", {}), Mapping)
    if not members or not usable or "background" in (skip if isinstance(skip, list | tuple | set) else ()):
        return options
    return {**given, "background": {"bkg_list": tuple(members), **given.get("background", {})}}


def _names_backgrounds(options: Any, rate: JwstDataModel) -> bool:
    """Whether options of the step background were given, or a parameter file or reference names background exposures."""
    if isinstance(options, Mapping) and "background" in options:
        return True
    return any(p.name == "bkg_list" and p.value for p in describe("background", rate))


def _of_background(
    made: Mapping[str, JwstDataModel | None], kept: Mapping[str, JwstDataModel], subtracted: JwstDataModel | None, *, cube: bool
) -> dict[str, JwstDataModel | None]:
    """Return the products after those of the step background that were asked for; the mean background stands in its own alone."""
    from jwnb.stage2.background import combined_background, forget_combined_background

    done = subtracted is not None and subtracted.meta.cal_step.bkg_subtract == "COMPLETE"
    calibrated = made["calints" if cube else "cal"]
    more = {"bsubints" if cube else "bsub": share(subtracted) if done else None, "combinedbackground": combined_background(calibrated)}
    for model in (*made.values(), *more.values(), *kept.values()):
        if model is not None:
            forget_combined_background(model)
    return {**more, **made}


def image3(
    exposures: Iterable[JwstDataModel | PathLike] | JwstDataModel | PathLike,
    /,
    *,
    name: str | None = None,
    skip: Sequence[str] = (),
    run: Sequence[str] = (),
    options: Options = None,
    keep: Sequence[str] = (),
) -> Products | list[Products]:
    """Combine calibrated images of one field into a mosaic (stage 3, imaging).

    Parameters
    ----------
    exposures : models and paths, or one
        The cal images; or one, or a level-3 association. Paths are opened one at a time.
    name : str, optional
        Root of the product names; by default the association's product name, or the first image's root.
    skip, run, keep : sequence of str
        As for `detector1`.
    options : mapping
        As for `detector1`.

    Returns
    -------
    Products
        ``i2d``; a list of Products for an association of several products.
    """
    choices: dict[str, Any] = {"skip": skip, "run": run, "options": options, "keep": keep}
    if _is_association(exposures):
        asn = associations.load(exposures)  # type: ignore[arg-type]
        members = [Exposures(p.of("science")) for p in asn.products]  # a missing file is found before the first product is made
        made = [_image3(m, asn, name or p.name, **choices) for m, p in zip(members, asn.products, strict=True)]
        return made if len(made) > 1 else made[0]
    return _image3(Exposures(exposures), None, name, **choices)


def _image3(exposures: Exposures, asn: associations.Association | None, name: str | None, **choices: Any) -> Products:
    if not len(exposures):
        raise InputError("image3 was given no exposures.")
    first = _opened("image3", exposures[0], ImageModel, "cal images")
    with collecting_log() as log:
        plan = make_plan("image3", IMAGE3, first, **choices)
        result, kept = walk(plan, exposures)
    made = {} if plan.left_out["resample"] else {"i2d": result}
    if asn is not None:
        for product in made.values():
            product.meta.asn.pool_name, product.meta.asn.table_name = asn.pool, asn.path.name
    return Products("image3", _named(made, name or first.meta.filename), kept=kept, log=tuple(log))


ORDERS = {"detector1": NEAR_INFRARED, "guider": GUIDER, "image2": IMAGE2, "image3": IMAGE3}
_PIPELINES: dict[str, Callable[..., Any]] = {f.__name__: f for f in (detector1, guider, image2, image3)}
PIPELINE_NAMES = tuple(_PIPELINES)
_STARTS: dict[type, str] = {RampModel: "detector1", GuiderRawModel: "guider", ImageModel: "image2", CubeModel: "image2"}


def find_pipeline(name: str) -> Callable[..., Any]:
    """Return the pipeline of that name, or raise `ParameterError` with the nearest one."""
    if name not in _PIPELINES:
        raise ParameterError(f"there is no pipeline {name!r}.{nearest(name, _PIPELINES)} There are: {', '.join(_PIPELINES)}.")
    return _PIPELINES[name]


def steps_of(name: str) -> list[Step]:
    """Return the steps of a pipeline that jwnb has, in order."""
    find_pipeline(name)
    return [find_step(entry.name) for entry in ORDERS[name] if entry.exists]


def _opened(pipeline: str, source: Any, wanted: type | tuple[type, ...], words: str) -> Any:
    """Open the input of a pipeline and refuse what it does not start from, saying what does."""
    model = models.open(source)
    name = model.meta.filename or f"this {type(model).__name__}"
    if not isinstance(model, wanted):
        starts = _STARTS.get(type(model))
        hint = f" {starts} starts from it." if starts and starts != pipeline else ""
        raise WrongExposureError(f"{pipeline} starts from {words}; {name} is a {type(model).__name__}.{hint}")
    chain = pipelines_for(model)
    if pipeline not in chain:
        raise WrongExposureError(f"{pipeline} is not for {exposure_type(model)} exposures ({name}); they go through {', '.join(chain)}.")
    return model


def _is_association(source: Any) -> bool:
    return isinstance(source, str | os.PathLike) and Path(source).suffix in {".json", ".yaml", ".yml"}


def _named(made: Mapping[str, Any], root: str | None) -> dict[str, Any]:
    """Give each product the file name that it is saved under."""
    root = root or "exposure.fits"
    for suffix, model in made.items():
        if model is not None:
            model.meta.filename = product_name(root, suffix)
    return dict(made)
