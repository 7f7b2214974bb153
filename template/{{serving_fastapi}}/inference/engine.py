"""The model behind the service: loading it, warming it up, and which version answers now."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

from .api import ModelInfo
from .canary import Canary, same_form
from .errors import ServiceError, unavailable
from .memory import settle
from .metrics import Metrics
from .project import UserError, redacted
from .schema import EXAMPLE_INPUTS

logger = logging.getLogger(__name__)

WARM_UP_SECONDS = 600.0  # a compiler or a download at the first request may take minutes
LOOK_SECONDS = 5.0  # between two looks at whether the runner can go on
MAX_STALLED = 4  # looks in a row at which it cannot, with a canary after each but the first


# why a runner is stalled, for all of them
STOPPED = "The model's thread has ended; restart the service."
HUNG = "The model's work does not come to an end; restart the service."
NO_MEMORY = "The model is out of memory, again and again; give it more or lower the limits."
OUT_OF_MEMORY_AGAIN = 2  # batches in a row, after which a runner says so


class Runner(Protocol):
    """One loaded version of a model and the work in its hands."""

    info: ModelInfo

    def waiting(self) -> int:
        """Inputs that wait to be computed."""

    def stalled(self) -> str | None:
        """Why it cannot work any more, in a sentence; None where it can."""

    async def predict(
        self, inputs: Sequence[Any], options: Mapping[str, Any], deadline: float
    ) -> list[Any]:
        """One output for each input.

        After `deadline`, of time.monotonic(), the answer is of no use. Cancelling the awaiting
        task drops what has not begun to be computed. Raises UserError for a bad input, and
        ServiceError.
        """

    def close(self) -> None:
        """Take no more work, and drop what waits; called on the event loop, so does not block."""


Load = Callable[[str, Runner | None], Runner]
"""Loads the model that a reference names, in a thread, or returns the runner that answers now where
that has the same model. Raises UserError."""


@dataclass(frozen=True)
class Version:
    """A runner that passed the canary."""

    runner: Runner
    reference: str
    answers: list[Any]
    """What it answered to the canary."""


class Engine:
    """Holds the runner that answers; the event loop alone touches it."""

    def __init__(
        self,
        load: Load,
        reference: str,
        metrics: Metrics,
        canary: Canary | None = None,
        *,
        warm_up: Mapping[str, Any] | None = None,
        keep_previous: bool = True,
        grace_seconds: float = 30.0,
    ) -> None:
        self.failure: str | None = None
        """Why there is no model to answer, and will be none; the process then ends."""
        self.draining = False
        """Whether a signal has announced the end."""
        self._load = load
        self._reference = reference
        self._metrics = metrics
        self._canary = canary or Canary.read(None)
        self._warm_up = warm_up or {}
        self._keep_previous = keep_previous
        self._grace_seconds = grace_seconds
        """How long the longest request may go on with a runner that was replaced."""
        self._current: Version | None = None
        self._previous: Version | None = None
        self._changing = False
        self._loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="load")
        metrics.watch(waiting=self.waiting, ready=lambda: self.problem() is None)

    async def start(self) -> None:
        """Load the model and predict once; `failure` says in a sentence why that did not work."""
        begun = time.monotonic()
        try:
            runner = await self._run_loader(self._reference, None)
            version = await self._try(runner, self._reference)
        except UserError as error:
            self.failure = str(error)
        except ServiceError as error:
            self.failure = f"the model could not answer its first request: {error.detail}"
        except Exception as error:
            logger.exception("loading failed")
            self.failure = f"the model could not be loaded ({type(error).__name__}: {error})"
        else:
            self._serve(version)
            _log("ready", version, begun)

    async def watch(self) -> None:
        """Look after the runner until there is a `failure`; call it after `start`.

        One that is stalled gets the canary: an answer shows that it can go on, as when other
        programs took the memory for a while. Where there is none, a new process may do better.
        """
        stalled = 0
        while self.failure is None:
            await asyncio.sleep(LOOK_SECONDS)
            runner = self.runner()
            reason = runner.stalled()
            stalled = stalled + 1 if reason and not self.draining else 0
            if stalled >= MAX_STALLED:
                self.failure = reason
            elif stalled > 1:
                with suppress(UserError):
                    await self._answers(runner, time.monotonic() + self._grace_seconds)

    async def reload(self, reference: str | None = None, *, other_labels: bool = False) -> bool:
        """Load a model beside the one that answers, and let it answer from then on.

        Without a `reference` the same one is looked up again: an alias may mean another version.
        Where it is the model that answers already, nothing is loaded, and False returned.
        Requests in hand are finished by the model that began them. Raises ServiceError, and then
        nothing has changed.
        """
        begun = time.monotonic()
        with self._change() as current:
            reference = reference or current.reference
            try:
                runner = await self._run_loader(reference, current.runner)
                if runner is current.runner:
                    self._current = replace(current, reference=reference)
                    _log("already serving", current, begun)
                    return False
                version = await self._try(runner, reference)
                if not other_labels and not same_form(current.answers, version.answers):
                    self._close(version.runner)
                    raise UserError("it has other labels, and clients were not told to expect any")
            except UserError as error:
                raise _not_reloaded(str(error)) from None
            except ServiceError as error:
                raise _not_reloaded(error.detail) from None
            except Exception as error:
                logger.exception("reloading failed")
                raise _not_reloaded(f"it could not be loaded ({type(error).__name__})") from None
            if self.draining:
                self._close(version.runner)
                raise unavailable("draining", "The service is about to stop.")
            self._serve(version)
            self._put_aside(current)
            _log("reloaded", version, begun)
            return True

    def rollback(self) -> ModelInfo:
        """Let the model answer that was replaced last. Raises ServiceError where none is kept."""
        begun = time.monotonic()
        with self._change() as current:
            previous = self._previous
            if previous is None:
                message = "There is no version to go back to: none was replaced, or it is not kept."
                raise ServiceError(409, "no_previous_version", message)
            self._previous = current
            self._serve(previous)
            _log("rolled back", previous, begun)
            return previous.runner.info

    def runner(self) -> Runner:
        """The runner that answers now. Raises ServiceError (503) while the model is loading."""
        if self._current is None:
            raise _loading()
        return self._current.runner

    def previous(self) -> ModelInfo | None:
        """The version that `rollback` would bring back."""
        return self._previous.runner.info if self._previous else None

    def problem(self) -> ServiceError | None:
        """Why requests should go elsewhere; None where the service is ready."""
        if self._current is None:
            return _loading()
        if self.draining:
            return unavailable("draining", "The service is about to stop.")
        reason = self._current.runner.stalled()
        return unavailable("stalled", reason, retry_after_s=5) if reason else None

    def waiting(self) -> int:
        """Inputs that wait to be computed."""
        return sum(version.runner.waiting() for version in self._versions())

    def close(self) -> None:
        """Drop what waits; threads end after what they are doing."""
        self._loader.shutdown(wait=False, cancel_futures=True)
        for version in self._versions():
            version.runner.close()

    def _versions(self) -> list[Version]:
        return [version for version in (self._current, self._previous) if version]

    async def _run_loader(self, reference: str, current: Runner | None) -> Runner:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._loader, self._load, reference, current)

    async def _try(self, runner: Runner, reference: str) -> Version:
        """The runner that was loaded, when it has answered, also to the canary."""
        deadline = time.monotonic() + WARM_UP_SECONDS
        try:
            await runner.predict(EXAMPLE_INPUTS[:1], self._warm_up, deadline)
            answers = await self._answers(runner, deadline)
        except BaseException:
            self._close(runner)
            raise
        return Version(runner, reference, answers)

    async def _answers(self, runner: Runner, deadline: float) -> list[Any]:
        """What a runner answers to the canary. Raises UserError where that is not good."""
        asked, answers = self._canary.model_dump(), []
        try:
            for item in asked["inputs"]:  # one by one, as but one may be allowed to wait
                answers += await runner.predict([item], asked["options"], deadline)
        except (UserError, ServiceError) as error:
            reason = error.detail if isinstance(error, ServiceError) else str(error)
            where = f"the canary's inputs[{len(answers)}]"
            raise UserError(f"{where} is not answered: {' '.join(reason.split())}") from None
        except Exception as error:
            logger.exception("the canary failed")
            raise UserError(f"the canary is not answered ({type(error).__name__})") from None
        self._canary.check(answers)
        return answers

    @contextmanager
    def _change(self) -> Iterator[Version]:
        """One change at a time."""
        if self._current is None:
            raise _loading()
        if self._changing:
            message = "Another model is being loaded; ask again when that is done."
            raise ServiceError(409, "already_reloading", message)
        self._changing = True
        try:
            yield self._current
        finally:
            self._changing = False

    def _put_aside(self, replaced: Version) -> None:
        """Keep a version for `rollback`; close what is not kept when its last request is over."""
        is_same = replaced.runner.info.digest == self.runner().info.digest
        retired: Version | None = replaced
        if self._keep_previous and not is_same:
            self._previous, retired = replaced, self._previous
        if retired:
            loop = asyncio.get_running_loop()
            loop.call_later(self._grace_seconds, self._close, retired.runner)

    def _close(self, runner: Runner) -> None:
        """Close what does not answer any more; its numbers go with it."""
        runner.close()
        if all(version.runner.info != runner.info for version in self._versions()):
            self._metrics.forget(runner.info)

    def _serve(self, version: Version) -> None:
        self._current = version
        self._metrics.serving(version.runner.info)
        settle()


def _loading() -> ServiceError:
    return unavailable("loading", "The model is still loading; ask /readyz.")


def _not_reloaded(reason: str) -> ServiceError:
    message = f"The model was not changed: {' '.join(redacted(reason).split())}"
    return ServiceError(422, "reload_failed", message if message[-1] == "." else f"{message}.")


def _log(event: str, version: Version, begun: float) -> None:
    info = version.runner.info
    fields = {"model": info.name, "version": info.version, "digest": info.digest}
    seconds = round(time.monotonic() - begun, 2)
    logger.info(event, extra={"fields": {**fields, "seconds": seconds}})
