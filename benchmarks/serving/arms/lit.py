"""LitServe, batched as its documentation shows."""

# without `from __future__ import annotations`: LitServe reads the types of decode_request
import os
from typing import Any

import litserve
from model import MAX_BATCH, PORT, Classifier


class Api(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.classifier = Classifier()

    def decode_request(self, request: dict) -> str:
        return request["text"]

    def batch(self, inputs: list[str]) -> list[str]:
        return inputs

    def predict(self, texts: list[str]) -> list[dict[str, Any]]:
        return self.classifier.predict(texts)

    def unbatch(self, outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return outputs

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    wait = float(os.environ.get("BENCH_LIT_WAIT", "0.005"))
    api = Api(max_batch_size=MAX_BATCH, batch_timeout=wait)
    fast = os.environ.get("BENCH_LIT_FAST", "") == "1"
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=1, timeout=30, fast_queue=fast
    )
    server.run(
        host="127.0.0.1",
        port=PORT,
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )
