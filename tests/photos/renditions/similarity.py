"""How similar two images look: the structural similarity index (SSIM) of Wang et al., 2004, with windows of 8 x 8."""

from array import array

from PIL import Image, ImageMath

_WINDOW = 8
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def similarity(one: Image.Image, other: Image.Image) -> float:
    """Return the similarity of two images of the same dimensions, at most 1, in the least similar of their channels.

    Images that are not opaque are compared as they look on black and on white.
    """
    assert one.size == other.size, (one.size, other.size)
    return min(
        _channel_similarity(one_channel, other_channel)
        for background in ("black", "white")
        for one_channel, other_channel in zip(
            _over(one, background).split(), _over(other, background).split(), strict=True
        )
    )


def _over(image: Image.Image, background: str) -> Image.Image:
    canvas = Image.new("RGBA", image.size, background)
    canvas.alpha_composite(image.convert("RGBA"))
    return canvas.convert("RGB")


def _channel_similarity(one: Image.Image, other: Image.Image) -> float:
    x, y = one.convert("F"), other.convert("F")
    means = [_means(each) for each in (x, y, _product(x, x), _product(y, y), _product(x, y))]
    windows = [_window_similarity(*window) for window in zip(*means, strict=True)]
    return sum(windows) / len(windows)


def _window_similarity(x: float, y: float, xx: float, yy: float, xy: float) -> float:
    covariance, variances = xy - x * y, xx - x * x + yy - y * y
    return (2 * x * y + _C1) * (2 * covariance + _C2) / ((x * x + y * y + _C1) * (variances + _C2))


def _product(one: Image.Image, other: Image.Image) -> Image.Image:
    product: Image.Image = ImageMath.lambda_eval(lambda images: images["one"] * images["other"], one=one, other=other)
    return product


def _means(image: Image.Image) -> list[float]:
    """Return the averages of the windows."""
    return array("f", image.reduce(_WINDOW).tobytes()).tolist()
