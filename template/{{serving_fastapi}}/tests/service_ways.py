"""The service's ways into the model, over HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ways import Ask, Result

from inference.loadtesting.served import Served

PATHS = ("/v1/predict", "/invocations")


@contextmanager
def service(run: Path, folder: Path) -> Iterator[dict[str, Ask]]:
    with Served(run, folder, environment={"API_KEYS": ""}) as served:
        yield {path: partial(post, f"{served.url}{path}") for path in PATHS}


def post(url: str, body: dict[str, Any]) -> Result:
    content = json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.loads(response.read()), ""
    except urllib.error.HTTPError as error:
        assert error.code == 422
        return None, json.loads(error.read())["error"]["message"]
