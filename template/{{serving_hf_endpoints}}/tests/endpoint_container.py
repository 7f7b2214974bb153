"""Stands in for the container of Hugging Face Inference Endpoints.

It finds the handler, reads a body by its Content-Type, and answers, as version 0.5.6 of the
huggingface-inference-toolkit does. Run as `python endpoint_container.py FOLDER`: one request a line
in, one answer a line out.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import sys
from pathlib import Path
from typing import Any


def load_handler(folder: str) -> Any:
    spec = importlib.util.spec_from_file_location(
        "handler.EndpointHandler", Path(folder, "handler.py")
    )
    assert spec and spec.loader
    sys.path.insert(0, folder)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.EndpointHandler(folder)


def read_body(content_type: str, body: bytes) -> Any:
    if content_type == "application/json":
        return json.loads(body)
    if content_type.startswith("image/"):
        image = importlib.import_module("PIL.Image")  # there where a task has images
        return {"inputs": image.open(io.BytesIO(body)).convert("RGB")}
    if content_type.startswith("audio/"):
        return {"inputs": body}
    raise ValueError(f'Content type "{content_type}" not supported.')


def answer(handler: Any, content_type: str, body: bytes) -> tuple[int, Any]:
    try:
        data = read_body(content_type, body)
        if "inputs" not in data:
            raise ValueError("Body needs to provide a inputs key")
        return 200, json.loads(json.dumps(handler(data)))
    except Exception as error:
        return 400, {"error": str(error)}


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    handler = load_handler(sys.argv[1])
    code = {name: sys.modules[name].__file__ for name in sys.modules if name == "inference"}
    print(json.dumps(code), file=answers, flush=True)
    for line in sys.stdin:
        content_type, body = json.loads(line)
        result = answer(handler, content_type, base64.b64decode(body))
        print(json.dumps(result), file=answers, flush=True)


if __name__ == "__main__":
    main()
