"""Image classification, from a folder for each class."""

from __future__ import annotations

import pytest

from journey import *  # noqa: F403

pytestmark = pytest.mark.run

CASE = "image_classification"
