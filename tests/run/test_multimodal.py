"""Questions about images, answered in text."""

from __future__ import annotations

import pytest

from journey import *  # noqa: F403

pytestmark = pytest.mark.run

CASE = "multimodal"
