"""Opens any picture as an upright 8-bit RGB Pillow image, and tells which files are pictures.

It does what a picture viewer does: it applies the EXIF orientation, scales deeper values to 8 bits, puts
transparent parts on white, and takes the first frame of an animation. An RGB picture stays unchanged.

Deeper values (`depth`), TIFF (`tiff`) and HEIC (`heif`) have rules of their own. Where a rule had to choose,
a log message says so, once for each kind. Pillow's own warnings, about damaged metadata or many pixels, are
passed on. Nothing here changes the state of Pillow or of the process.
"""

from fcn_jax.images.conversion import check_bands
from fcn_jax.images.errors import ImageError
from fcn_jax.images.opening import PATH, Picture, open_image

__all__ = ["PATH", "ImageError", "Picture", "check_bands", "open_image"]
