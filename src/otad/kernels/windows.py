"""The linear end of rank matching, which both kernels share: from errors per member to a map."""

from __future__ import annotations

from torch import Tensor


def spread(errors: Tensor, weights: Tensor, n_rows: int, width: int) -> Tensor:
    """Give each window's errors to its members: member i of a window P gets Σ_j weights[i,j] error[j; P].

    errors  : (T², …): [j] holds, for each pixel of the padded map in raster order, the error it has in the
              window that it is member j of.
    n_rows  : rows of windows; their members are the pixels of n_rows + T − 1 rows of this width.

    Returns (n_rows + T − 1, width).
    """
    windows = _by_window(errors, n_rows, width)
    size, shape = len(windows), windows.shape[2:]
    members = windows.flatten(2).flatten(0, 1)
    result = errors.new_zeros(n_rows + size - 1, width)
    wanted = weights.any(dim=1).nonzero()[:, 0].tolist()
    given = weights[wanted].to(errors) @ members
    for member, one in zip(wanted, given.view(-1, *shape), strict=True):
        y, x = divmod(member, size)
        result[y : y + n_rows, x : x + shape[1]] += one
    return result


def share_mirrored(errors: Tensor, rows: tuple[int, int], height: int, width: int) -> None:
    """Give the copies of a pixel, in the mirror along the edge, the mean of the errors that they have in a window.

    errors, width : as in `spread`, changed in place; rows : those of windows that are there, of height in all.
    A corner's four copies are two pairs, left and right, and the pair of their means, above and below.
    """
    windows = _by_window(errors, rows[1] - rows[0], width)
    _share_mirrored(windows.permute(1, 0, 3, 2), 0, windows.shape[3])
    _share_mirrored(windows, rows[0], height)


def _share_mirrored(windows: Tensor, first: int, n: int) -> None:
    """Share along one axis: (T, ·, windows, ·), of n windows those from the first on."""
    size = len(windows)
    for i in range(windows.shape[2]):
        edge = size // 2 - first - i  # members of window i that are the first and the last pixel of the map
        for mirror in (edge, edge + n - 1):
            deep = min(mirror, size - 1 - mirror)
            if deep > 0:
                before = windows[mirror - deep : mirror, :, i]
                behind = windows[mirror + 1 : mirror + 1 + deep, :, i]
                mean = (before + behind.flip(0)) / 2
                before.copy_(mean)
                behind.copy_(mean.flip(0))


def _by_window(errors: Tensor, n_rows: int, width: int) -> Tensor:
    """View errors as [y, x, top, left]: member (y,x) of the window that begins at pixel p is pixel p + y·width + x."""
    size, stride = round(len(errors) ** 0.5), errors.stride(0)
    shape = (size, size, n_rows, width - size + 1)
    return errors.as_strided(shape, (size * stride + width, stride + 1, width, 1))
