"""The way into the model through the handler of Inference Endpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ways import Ask, Result

from inference.handler import EndpointHandler
from inference.project import UserError


@contextmanager
def endpoint(run: Path, folder: Path) -> Iterator[dict[str, Ask]]:
    handler = EndpointHandler(str(run))

    def ask(body: dict[str, Any]) -> Result:
        renamed = {"parameters" if key == "options" else key: body[key] for key in body}
        try:
            return json.loads(json.dumps(handler(renamed))), ""
        except UserError as error:
            return None, str(error).replace("parameters", "options")

    yield {"Inference Endpoints": ask}
