"""Audio classification, from files of several rates and formats."""

from __future__ import annotations

import pytest

from journey import *  # noqa: F403

pytestmark = pytest.mark.run

CASE = "audio_classification"
