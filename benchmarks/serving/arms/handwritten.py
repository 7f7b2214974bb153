"""FastAPI with a batcher as a careful engineer writes it: one thread computes, arrivals gather."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from http_api import Answer, Request, serve
from model import MAX_BATCH, Classifier


class Batcher:
    """Takes all that waits, up to the cap, whenever the thread is free; it never waits idly."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._queue: asyncio.Queue[tuple[str, asyncio.Future[dict[str, Any]]]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(max_workers=1)

    async def predict(self, text: str) -> dict[str, Any]:
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((text, future))
        return await future

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            items = [await self._queue.get()]
            while len(items) < MAX_BATCH and not self._queue.empty():
                items.append(self._queue.get_nowait())
            texts = [text for text, _ in items]
            try:
                outputs = await loop.run_in_executor(self._thread, self._classifier.predict, texts)
            except Exception as error:
                for _, future in items:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), output in zip(items, outputs, strict=True):
                if not future.done():
                    future.set_result(output)


batcher = Batcher(Classifier())


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    task = asyncio.create_task(batcher.run())
    yield
    task.cancel()


app = FastAPI(lifespan=lifespan)


@app.post("/predict")
async def predict(request: Request) -> Answer:
    return Answer(**await batcher.predict(request.text))


serve(app)
