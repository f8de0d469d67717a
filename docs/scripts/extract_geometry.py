"""Write `jwnb/sim/nircam_geometry.json` from pysiaf, the Science Instrument Aperture File of the telescope.

    python extract_geometry.py jwnb/sim/nircam_geometry.json

pysiaf is needed here only: it is large and asks the network for the newest version when it is imported, so jwnb itself
reads the small table that this script makes. Run it in an environment of its own.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pysiaf

SUBARRAYS = ("FULL", "FULLP", "SUB640", "SUB320", "SUB160", "SUB400P", "SUB160P", "SUB64P")
NAMES = {"NRCA5": "NRCALONG", "NRCB5": "NRCBLONG"}
DEGREE = 5
TARGET = 2e-4  # pixels: the worst round trip that an inverse polynomial may leave


def terms(degree):
    """List the exponents (i, j) of x**i y**j in the order of the table: by degree, then by power of y."""
    return [(n - j, j) for n in range(degree + 1) for j in range(n + 1)]


def evaluate(coefficients, degree, x, y):
    """Evaluate a two-dimensional polynomial."""
    return sum(c * x**i * y**j for c, (i, j) in zip(coefficients, terms(degree), strict=True))


def fit_inverse(forward_x, forward_y):
    """Fit pixels as polynomials of the ideal angles; the lowest degree that meets `TARGET` over detector and margin."""
    edge = np.linspace(-1040, 1040, 80)
    x, y = (a.ravel() for a in np.meshgrid(edge, edge))
    u, v = evaluate(forward_x, DEGREE, x, y), evaluate(forward_y, DEGREE, x, y)
    unit = np.abs(u).max()  # scaled for the fit only, so that the normal equations are well conditioned
    for degree in range(5, 9):
        design = np.stack([(u / unit) ** i * (v / unit) ** j for i, j in terms(degree)], axis=1)
        scale = np.array([unit ** -(i + j) for i, j in terms(degree)])
        back_x, back_y = (np.linalg.lstsq(design, target, rcond=None)[0] for target in (x, y))
        worst = float(np.hypot(design @ back_x - x, design @ back_y - y).max())
        if worst < TARGET:
            return degree, (back_x * scale).tolist(), (back_y * scale).tolist(), worst
    raise RuntimeError(f"no inverse polynomial below {TARGET} pixel: {worst}")


def orientation(aperture):
    """Return FASTAXIS and SLOWAXIS, from how the science frame lies on the detector."""
    return (-1, 2) if aperture.DetSciYAngle == 0 else (1, -2)


def detector(siaf, name):
    """Describe one detector: polynomials of its whole frame, and where each subarray lies."""
    full = siaf[f"{name}_FULL"]
    forward_x = [getattr(full, f"Sci2IdlX{n}{j}") for n in range(DEGREE + 1) for j in range(n + 1)]
    forward_y = [getattr(full, f"Sci2IdlY{n}{j}") for n in range(DEGREE + 1) for j in range(n + 1)]
    degree, inverse_x, inverse_y, worst = fit_inverse(forward_x, forward_y)
    fast, slow = orientation(full)
    subarrays = {}
    for label in SUBARRAYS:
        aperture = siaf.apertures.get(f"{name}_{label}")
        if aperture is None:
            continue
        corner = full.det_to_sci(*aperture.sci_to_det(np.array([1.0, aperture.XSciSize]), np.array([1.0, aperture.YSciSize])))
        if min(corner[0].min(), corner[1].min()) < 0.5 or max(corner[0].max(), corner[1].max()) > 2048.5:
            continue  # NRCA5_SUB400P of PRDOPSSOC-075 reaches beyond its detector
        subarrays[label] = {
            "aperture": aperture.AperName,
            "xstart": round(float(corner[0].min())), "ystart": round(float(corner[1].min())),
            "xsize": int(aperture.XSciSize), "ysize": int(aperture.YSciSize),
            "x_ref": aperture.XSciRef, "y_ref": aperture.YSciRef,
            "v2_ref": aperture.V2Ref, "v3_ref": aperture.V3Ref, "v3_yangle": aperture.V3IdlYAngle,
        }  # fmt: skip
    return {
        "fastaxis": fast, "slowaxis": slow, "vparity": int(full.VIdlParity),
        "x_ref": full.XSciRef, "y_ref": full.YSciRef,
        "v2_ref": full.V2Ref, "v3_ref": full.V3Ref, "v3_yangle": full.V3IdlYAngle,
        "degree": DEGREE, "ideal_x": forward_x, "ideal_y": forward_y,
        "inverse_degree": degree, "pixel_x": inverse_x, "pixel_y": inverse_y, "inverse_residual": worst,
        "subarrays": subarrays,
    }  # fmt: skip


def main(path):
    """Write the table."""
    siaf = pysiaf.Siaf("NIRCam")
    table = {
        "source": f"pysiaf {pysiaf.__version__}, {pysiaf.JWST_PRD_VERSION}",
        "order": "coefficients of x**(n-j) y**j for n = 0 … degree, j = 0 … n; pixels from the reference pixel, ideal angles in arcsec",
        "detectors": {NAMES.get(n, n): detector(siaf, n) for n in (f"NRC{m}{k}" for m in "AB" for k in range(1, 6))},
    }
    Path(path).write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, entry in table["detectors"].items():
        print(name, entry["inverse_degree"], f"{entry['inverse_residual']:.1e}", *entry["subarrays"])


if __name__ == "__main__":
    main(sys.argv[1])
