"""The main path for several photos of one person: photos in, one identity out, and one albedo with `photometric`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from flamehead._timed import timed
from flamehead._types import StrPath
from flamehead.data import FlameParams
from flamehead.errors import InputError
from flamehead.fit.person import PersonFit, fit_person
from flamehead.fit.several import SharedFit, fit_same_person
from flamehead.fit.unwrap import merge_photos
from flamehead.model import Flame, load_flame
from flamehead.pipeline import FittedPixels, ImageFit, PixelOptions, SeenImage, open_appearance, read_mask

__all__ = ["PersonImages", "fit_person_images", "merged_texture"]


@dataclass(frozen=True)
class PersonImages:
    """One person fitted to several photos, with what is needed to show and save each."""

    images: tuple[ImageFit, ...]
    """All with the same identity, and the same albedo where pixels were fitted."""
    flame: Flame
    landmarks: SharedFit
    """The fit to the landmarks of all photos, with which that of the pixels begins."""
    pixels: PersonFit | None

    @property
    def neutral(self) -> FlameParams:
        """The person without expression, in the rest pose."""
        return self.landmarks.neutral if self.pixels is None else self.pixels.neutral


def fit_person_images(
    seen: Sequence[SeenImage],
    *,
    flame: Flame | None = None,
    one_lens: bool = False,
    photometric: PixelOptions | None = None,
    masks: Sequence[StrPath | None] | None = None,
) -> PersonImages:
    """Fit one person to photos, each seen by `see_image`.

    Args:
        seen: Two or more.
        flame: The model; the built-in head by default.
        one_lens: As in `fit_same_person`.
        photometric: Go on from the landmarks to the pixels of all photos; None does not.
        masks: A picture for each photo, white where its pixels count; None counts all.

    Raises:
        InputError: A photo, a mask or the texture cannot be used, or the numbers differ.

    Example:
        >>> seen = [see_image(name) for name in ("a.jpg", "b.jpg")]  # doctest: +SKIP
        >>> found = fit_person_images(seen, photometric=PixelOptions())  # doctest: +SKIP
        >>> found.pixels.albedo.shape  # doctest: +SKIP
        (31,)
    """
    if photometric is not None and photometric.mask is not None:
        raise InputError(f"One mask, {photometric.mask}, cannot serve several photos; give `masks`, one for each.")
    flame = load_flame() if flame is None else flame
    seconds: dict[str, float] = {}
    with timed(seconds, "fit_all"):
        marks, focals = [one.observation for one in seen], [one.focal for one in seen]
        shared = fit_same_person(flame, marks, focals=focals, one_lens=one_lens)
    images = [
        ImageFit(fit, flame, one.photo, one.image, one.focal_source, one.seconds)
        for one, fit in zip(seen, shared.fits, strict=True)
    ]
    person = None
    if photometric is not None:
        with timed(seconds, "photometric_all"):
            person, images = _fit_pixels(flame, images, photometric, masks)
    # The solve is one for all photos, so each tells the time of all.
    images = tuple(replace(one, seconds={**one.seconds, **seconds}) for one in images)
    return PersonImages(images, flame, shared, person)


def _fit_pixels(
    flame: Flame, starts: Sequence[ImageFit], options: PixelOptions, paths: Sequence[StrPath | None] | None
) -> tuple[PersonFit, list[ImageFit]]:
    appearance = open_appearance(flame, options.texture, options.uv)
    paths = [None] * len(starts) if paths is None else paths
    masks = [
        None if path is None else read_mask(path, one.photo.shape[:2]) for path, one in zip(paths, starts, strict=True)
    ]
    person = fit_person(
        flame, [one.photo for one in starts], [one.fit.observation for one in starts], [one.fit for one in starts],
        appearance.space, masks=masks, settings=options.settings,
    )  # fmt: skip
    images = [
        replace(one, fit=found.fit, pixels=FittedPixels(found, appearance, one.fit.fitted, mask))
        for one, found, mask in zip(starts, person.photos, masks, strict=True)
    ]
    return person, images


def merged_texture(result: PersonImages) -> Float[np.ndarray, "h w 3"]:
    """All photos on one texture, without their light; what none shows comes from its mirror image, else from the model.

    Raises:
        InputError: The pixels were not fitted.
    """
    parts = [(one.photo, one.fit, one.pixels) for one in result.images if one.pixels is not None]
    if not parts or result.pixels is None:
        raise InputError("The photos were fitted by landmarks only; fit them with `photometric=PixelOptions()`.")
    photos, fits, pixels = zip(*parts, strict=True)
    lights, masks = [each.result.light for each in pixels], [each.mask for each in pixels]
    albedo = result.pixels.albedo
    return merge_photos(result.flame, photos, fits, pixels[0].appearance, albedo, lights, masks=masks).image
