"""Sources in an image: smoothing round missing pixels, saddles inside segments, skies in rings, noise summed with its correlation."""

import numpy as np
from numba import prange

from jwnb.kernels import jit, parallel_jit

__all__ = ["has_saddle", "ring_medians", "smooth", "summed_variance"]


@parallel_jit
def smooth(image, masked, profile):
    """Smooth an image with a separable profile; missing pixels are left out and the weights of the others count for them.

    Parameters
    ----------
    image : float32 (ny, nx)
        NaN pixels are missing.
    masked : bool (ny, nx)
        More missing pixels. Beyond the border the image is 0, and not missing.
    profile : float64 (odd,)
        Weights along either axis, symmetric.

    Returns
    -------
    float32 (ny, nx)
        NaN where all pixels under the profile are missing.
    """
    ny, nx = image.shape
    taps = profile.size
    half = taps // 2
    whole = profile.sum()
    out = np.empty((ny, nx), np.float32)
    for y in prange(ny):
        light, weight = np.zeros(nx + 2 * half), np.full(nx + 2 * half, whole)
        weight[half : half + nx] = 0.0
        for k in range(taps):
            row, w = y + k - half, profile[k]
            if row < 0 or row >= ny:
                for x in range(nx):
                    weight[half + x] += w
                continue
            for x in range(nx):
                value = np.float64(image[row, x])
                here = 0.0 if masked[row, x] or np.isnan(value) else w
                light[half + x] += here * value if here > 0.0 else 0.0
                weight[half + x] += here
        for x in range(nx):
            sum_light, sum_weight = 0.0, 0.0
            for k in range(taps):
                sum_light += profile[k] * light[x + k]
                sum_weight += profile[k] * weight[x + k]
            out[y, x] = sum_light / sum_weight if sum_weight > 0.0 else np.nan
    return out


@jit
def _root(parent, i):
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@jit
def _splits(image, segments, label, box, levels, least, diagonal):
    """Say whether at some level the segment falls into two or more pieces of at least `least` pixels."""
    y0, y1, x0, x1 = box
    width = x1 - x0
    cells = (y1 - y0) * width
    values, places = np.empty(cells, np.float32), np.empty(cells, np.int64)
    n = 0
    for y in range(y0, y1):
        for x in range(x0, x1):
            if segments[y, x] == label:
                values[n], places[n] = image[y, x], (y - y0) * width + x - x0
                n += 1
    order = np.argsort(-values[:n])
    parent, size = np.full(cells, -1, np.int64), np.zeros(cells, np.int64)
    pieces, done = 0, 0
    for k in range(levels.size - 1, -1, -1):
        while done < n and values[order[done]] > levels[k]:
            place = places[order[done]]
            done += 1
            parent[place], size[place] = place, 1
            pieces += 1 >= least
            y, x = place // width, place % width
            for dy in range(-1, 2):
                for dx in range(-1, 2):
                    if (dy == 0 and dx == 0) or (not diagonal and dy != 0 and dx != 0):
                        continue
                    if not (0 <= y + dy < y1 - y0 and 0 <= x + dx < width):
                        continue
                    other = place + dy * width + dx
                    if parent[other] < 0:
                        continue
                    a, b = _root(parent, place), _root(parent, other)
                    if a == b:
                        continue
                    pieces -= (size[a] >= least) + (size[b] >= least)
                    if size[a] < size[b]:
                        a, b = b, a
                    parent[b] = a
                    size[a] += size[b]
                    pieces += size[a] >= least
        if pieces >= 2:
            return True
    return False


@parallel_jit
def has_saddle(image, segments, labels, boxes, levels, least, diagonal):
    """Say of each segment whether, cut at one of its levels, it falls into two or more pieces large enough.

    Parameters
    ----------
    image : float32 (ny, nx)
        The light.
    segments : int32 (ny, nx)
        Label of each pixel.
    labels : int64 (n,)
        Which segments to look at.
    boxes : int64 (n, 4)
        First row, row after the last, first column and column after the last of each.
    levels : float (n, levels)
        Increasing; a piece is what lies above a level and is connected.
    least : int
        Number of pixels of a piece that counts.
    diagonal : bool
        Pixels that touch at a corner are connected, too.

    Returns
    -------
    bool (n,)
    """
    found = np.zeros(labels.size, np.bool_)
    for i in prange(labels.size):
        found[i] = _splits(image, segments, labels[i], boxes[i], levels[i], least, diagonal)
    return found


@jit
def _clipped(values, sigma, rounds):
    """Return median, standard deviation and number of sorted values, clipped about their median."""
    first, last = 0, values.size
    for turn in range(rounds + 1):
        n = last - first
        middle = first + n // 2
        centre = values[middle] if n % 2 else 0.5 * (values[middle - 1] + values[middle])
        mean = 0.0
        for k in range(first, last):
            mean += values[k]
        mean /= n
        squares = 0.0
        for k in range(first, last):
            squares += (values[k] - mean) ** 2
        spread = np.sqrt(squares / n)
        if turn == rounds:
            break
        while values[first] < centre - sigma * spread:
            first += 1
        while values[last - 1] > centre + sigma * spread:
            last -= 1
        if last - first == n:
            break
    return centre, spread, last - first


@parallel_jit
def ring_medians(image, x, y, inner, outer, sigma, rounds):
    """Return the clipped median, standard deviation and number of the pixels whose centres lie in a ring round each position.

    Parameters
    ----------
    image : float32 (ny, nx)
        What is not finite is left out.
    x, y : float64 (n,)
        Positions in pixels.
    inner, outer : float
        Radii in pixels; the inner one belongs to the ring.
    sigma : float
        Clip what lies further than so many standard deviations from the median.
    rounds : int
        How often at most.

    Returns
    -------
    median, deviation : float64 (n,)
        NaN where the ring has no pixel.
    number : int64 (n,)
    """
    ny, nx = image.shape
    median, deviation = np.full(x.size, np.nan), np.full(x.size, np.nan)
    number = np.zeros(x.size, np.int64)
    for i in prange(x.size):
        left, right = max(0, int(np.ceil(x[i] - outer))), min(nx - 1, int(np.floor(x[i] + outer)))
        low, high = max(0, int(np.ceil(y[i] - outer))), min(ny - 1, int(np.floor(y[i] + outer)))
        if left > right or low > high:
            continue
        values = np.empty((right - left + 1) * (high - low + 1))
        n = 0
        for row in range(low, high + 1):
            for column in range(left, right + 1):
                distance = (row - y[i]) ** 2 + (column - x[i]) ** 2
                if inner * inner <= distance < outer * outer and np.isfinite(image[row, column]):
                    values[n] = image[row, column]
                    n += 1
        if n:
            median[i], deviation[i], number[i] = _clipped(np.sort(values[:n]), sigma, rounds)
    return median, deviation, number


@jit
def summed_variance(errors, segments, covariance, total):
    """Add to `total[label]` the variance of the sum of each segment's pixels, whose noise is correlated with that of their neighbours.

    Parameters
    ----------
    errors : float32 (ny, nx)
        Standard deviations.
    segments : int32 (ny, nx)
        Label of each pixel, 0 for none.
    covariance : float64 (reach + 1, reach + 1)
        Of two pixels so many rows and columns apart, for errors of one.
    total : float64 (labels + 1,)
        Changed in place.
    """
    ny, nx = errors.shape
    reach = covariance.shape[0] - 1
    for y in range(ny):
        for x in range(nx):
            label = segments[y, x]
            if label == 0:
                continue
            inside = 0.0
            for row in range(max(0, y - reach), min(ny, y + reach + 1)):
                for column in range(max(0, x - reach), min(nx, x + reach + 1)):
                    if segments[row, column] == label:
                        inside += errors[row, column] * covariance[abs(row - y), abs(column - x)]
            total[label] += errors[y, x] * inside
