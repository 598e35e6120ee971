"""Mean and standard deviation of ImageNet's pixels, on the 0-255 scale: RGB."""

import numpy as np

IMAGENET_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
IMAGENET_STD = np.array([58.395, 57.12, 57.375], np.float32)

# What stands for "nothing" in an image.
_RED, _GREEN, _BLUE = (round(float(mean)) for mean in IMAGENET_MEAN)
IMAGENET_GREY = _RED, _GREEN, _BLUE
