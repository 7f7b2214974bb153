"""The handler of Hugging Face Inference Endpoints: the same requests and answers as /v1/predict.

Their container imports `handler.py` from the repository's folder, makes one `EndpointHandler` with
that folder, and calls it with each body, one at a time: `{"inputs": …, "parameters": {…}}`.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .api import MAX_INPUTS, ModelInfo, PredictRequest, PredictResponse
from .bodies import as_input
from .input_limits import InputLimits
from .output import WARM_UP_OPTIONS
from .project import UserError, load_predictor
from .schema import EXAMPLE_INPUTS, characters
from .validation import explain

logger = logging.getLogger(__name__)

LIMITS = InputLimits()


class EndpointHandler:
    """One loaded model. What it raises, the container sends to the client as `{"error": text}`."""

    NAME = ""
    """The model's name in answers; without one its folder tells."""

    def __init__(self, path: str = "") -> None:
        self._predictor = load_predictor(Path(path))
        self._predictor.predict(EXAMPLE_INPUTS[:1], **WARM_UP_OPTIONS)
        predictor = self._predictor
        self._model = ModelInfo(
            name=self.NAME or predictor.name, version=predictor.version, digest=predictor.digest
        )

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one request. Raises UserError with a sentence that holds nothing of the input."""
        request = read_request(data)
        try:
            outputs: list[Any] = self._predictor.predict(
                request.model_dump()["inputs"],
                limit=LIMITS.of_media,
                **request.options.model_dump(),
            )
        except UserError as error:
            raise UserError(" ".join(str(error).split())) from None
        except Exception as error:
            # its text may quote the input, so the log has its kind and place only
            place = traceback.extract_tb(error.__traceback__)[-1]
            kind = type(error).__name__
            logger.error("prediction failed: %s at %s:%d", kind, place.filename, place.lineno)
            raise RuntimeError("The prediction failed; the endpoint's log has the place.") from None
        return PredictResponse(outputs=outputs, model=self._model).model_dump()


def read_request(data: Mapping[str, Any]) -> PredictRequest:
    """Check a body as the container gives it. Raises UserError.

    `inputs` is one input or a list of them; the body of an image or a sound file is one.
    """
    given = dict(data)
    inputs = given.pop("inputs", [])
    inputs = [as_input(item) for item in (inputs if isinstance(inputs, list) else [inputs])]
    options = given.pop("parameters", None) or {}
    try:
        # as JSON, like /v1/predict: the same is taken, and refused with the same words
        body = json.dumps({"inputs": inputs, "options": options, **given})
        request = PredictRequest.model_validate_json(body)
    except TypeError:
        raise UserError("The body holds something that is not JSON.") from None
    except ValidationError as error:
        raise UserError(explain(error, PredictRequest).replace("options", "parameters")) from None
    if len(inputs) > MAX_INPUTS:
        raise UserError(f"There are {len(inputs)} inputs; one request takes at most {MAX_INPUTS}.")
    for i, item in enumerate(request.inputs):
        most = LIMITS.max_input_characters
        if characters(item) > most:
            raise UserError(f"inputs[{i}] has {characters(item)} characters; at most {most}.")
    return request
