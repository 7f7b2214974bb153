"""Text classification, from a CSV with columns of its own."""

from __future__ import annotations

import pytest

from journey import *  # noqa: F403

pytestmark = pytest.mark.run

CASE = "text_classification"
