"""A small CRDS cache, made anew for each test that asks for it."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from helpers_references import NX, NY, jump_config, numbered, prepared, write
from stdatamodels.jwst.datamodels import RampModel, SuperBiasModel

from jwnb.references import Entry, write_offline_set
from jwnb.references.opening import cache

CONTEXT = "jwst_0007.pmap"


@dataclass
class CrdsCache:
    """A cache with one instrument; ``rules`` maps a type to its file, ``"N/A"``, or the text of a selector."""

    folder: Path
    rules: dict[str, str] = field(default_factory=dict)

    def write(self, rules: Mapping[str, str], context: str = CONTEXT) -> None:
        """Write the mappings of a context and an empty file for each reference that they name."""
        serial = context.removeprefix("jwst_").removesuffix(".pmap")
        imap = {}
        for reftype, rule in rules.items():
            if rule == "N/A":
                imap[reftype] = rule
                continue
            name = f"jwst_nircam_{reftype}_{serial}.rmap"
            selector = rule if rule.startswith("selector") else _one_for_all(rule)
            self._mapping(name, dict(
                mapping="REFERENCE", filekind=reftype.upper(), instrument="NIRCAM", classes=("Match", "UseAfter"),
                parkey=(("META.INSTRUMENT.DETECTOR",), ("META.OBSERVATION.DATE", "META.OBSERVATION.TIME")),
            ), selector)  # fmt: skip
            imap[reftype] = name
        instrument = f"jwst_nircam_{serial}.imap"
        self._mapping(instrument, dict(mapping="INSTRUMENT", instrument="NIRCAM", parkey=("REFTYPE",)), f"selector = {imap!r}\n")
        top = dict(mapping="PIPELINE", parkey=("META.INSTRUMENT.NAME",))
        self._mapping(context, top, f"selector = {{'NIRCAM': {instrument!r}}}\n")

    def add(self, name: str) -> Path:
        """Return where the cache keeps a reference, with an empty file there if there is none."""
        path = self.folder / "references/jwst" / name
        path.touch()
        return path

    def _mapping(self, name: str, header: dict, selector: str) -> None:
        header |= dict(name=name, observatory="JWST", derived_from="made for a test")
        lines = ["header = {\n", *(f"    {key!r}: {value!r},\n" for key, value in header.items()), "}\n\n", selector]
        # The checksum is of all lines but its own.
        lines.insert(1, f"    'sha1sum': '{hashlib.sha1(''.join(lines).encode()).hexdigest()}',\n")
        (self.folder / "mappings/jwst" / name).write_text("".join(lines))


def _one_for_all(name: str) -> str:
    return f"selector = Match({{('NRCA1|NRCB1',): UseAfter({{'2015-01-01 00:00:00': {name!r}}})}})\n"


@pytest.fixture
def no_crds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no trace of CRDS in the environment."""
    for name in ("PATH", "PATH_SINGLE", "SERVER_URL", "CONTEXT"):
        monkeypatch.delenv(f"CRDS_{name}", raising=False)
    monkeypatch.setenv("CRDS_DEFAULT_CACHE", "/nowhere")
    for name in ("JWNB_OFFLINE_SET", "STPIPE_DISABLE_CRDS_STEPPARS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def crds_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_crds: None) -> CrdsCache:
    """A cache in force, with no server and no rules yet."""
    folder = tmp_path / "crds"
    for part in ("mappings/jwst", "references/jwst", "config/jwst"):
        (folder / part).mkdir(parents=True)
    (folder / "config/jwst/ref_cache_subdir_mode").write_text("flat")
    server = dict(
        observatory="jwst", operational_context=CONTEXT, latest_context=CONTEXT, edit_context=CONTEXT, bad_files="", bad_files_list=[],
        crds_version={"str": "13.0"}, status="s", connected=False, force_remote_mode=False, last_synced="2024-01-01 00:00:00",
        reference_url={}, mapping_url={}, mappings=[], context_names=[CONTEXT], sql_info={},
    )  # fmt: skip
    (folder / "config/jwst/server_config").write_text(repr(server))
    (folder / "config/jwst/bad_files.txt").write_text("")
    monkeypatch.setenv("CRDS_PATH", str(folder))
    monkeypatch.setenv("CRDS_SERVER_URL", "https://jwst-serverless.stsci.edu")
    return CrdsCache(folder)


@pytest.fixture
def make_exposure() -> Callable[..., RampModel]:
    """Return a maker of exposures, on a subarray said by keywords."""

    def make(detector: str = "NRCA1", *, x: int = 1, y: int = 1, nx: int = 32, ny: int = 24, instrument: str = "NIRCAM") -> RampModel:
        ramp = RampModel(data=np.zeros((1, 2, ny, nx), np.float32))
        ramp.meta.filename = "jw00001001001_01101_00001_nrca1_uncal.fits"
        ramp.meta.instrument.name, ramp.meta.instrument.detector = instrument, detector
        ramp.meta.observation.date, ramp.meta.observation.time = "2024-06-01", "12:00:00.000"
        ramp.meta.exposure.type = "NRC_IMAGE"
        ramp.meta.subarray.xstart, ramp.meta.subarray.ystart = x, y
        ramp.meta.subarray.xsize, ramp.meta.subarray.ysize = nx, ny
        return ramp

    return make


@pytest.fixture(autouse=True)
def _empty_cache():
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def bias(tmp_path):
    model = prepared(SuperBiasModel(data=numbered(NY, NX), err=numbered(NY, NX) + 0.5))
    model.dq = (np.arange(NY * NX) % 5).astype(np.uint32).reshape(NY, NX)
    model.save(tmp_path / "bias.fits")
    return tmp_path / "bias.fits"


@pytest.fixture
def parameter_set(tmp_path):
    """A set with a parameter reference of a step, one of a pipeline, and one of the older form."""
    write(tmp_path / "jump.asdf", **jump_config(rejection_threshold=5.0, save_results=True, skip=False, output_dir=None))
    write(
        tmp_path / "detector1.asdf",
        **{
            "class": "jwst.pipeline.calwebb_detector1.Detector1Pipeline",
            "name": "Detector1Pipeline",
            "parameters": {"save_calibrated_ramp": True, "output_ext": ".fits"},
            "steps": [
                jump_config(rejection_threshold=6.0, after_jump_flag_time1=15.0),
                {"class": "jwst.step.CleanFlickerNoiseStep", "name": "clean_flicker_noise", "parameters": {"skip": False}},
            ],
        },
    )
    older = {"class": "jwst.tweakreg.TweakRegStep", "name": "tweakreg", "kernel_fwhm": 3.2, "sigma": 3.0, "abs_refcat": ["a", 1]}
    write(tmp_path / "tweakreg.asdf", parameters=older)
    entries = [
        Entry("pars-jumpstep", "jump.asdf", {"meta.instrument.detector": "NRCA1"}),
        Entry("pars-jumpstep", "N/A"),
        Entry("pars-detector1pipeline", "detector1.asdf"),
        Entry("pars-tweakregstep", "tweakreg.asdf"),
    ]
    write_offline_set(tmp_path, entries, name="practice")
    return tmp_path
