"""Measure the rendered language-model service beside `transformers serve`; write results/.

python benchmarks/serving_llm.py --python ENV/bin/python [--repeats 5]

ENV holds a generated project's requirements and transformers[serving]. The server has core 0, the
client core 1, every arm one PyTorch thread and float32 weights. The model (6 layers of 384, random
weights) never writes its end token, so that all arms write the same number of tokens. Each stream
sends one prompt after the other; every arm is started anew for each repeat.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from timing import command, machine

from template import RESULTS, ROOT, WORK, copy_template

FOLDER = WORK / "serving-llm"
PROJECT, MODEL = FOLDER / "project", FOLDER / "model"
REQUESTS = {1: 4, 4: 2, 16: 1}  # streams: prompts that each sends, one after the other
NEW_TOKENS = 32
PROMPT_CHARACTERS = (40, 160)  # a token each
START_SECONDS = 180.0
OURS = "this template"
CONTINUOUS = "transformers serve --continuous-batching"
DEFAULT = "transformers serve"
ARMS = (OURS, CONTINUOUS, DEFAULT)
Times = dict[tuple[str, int], list[dict[str, float]]]


def main() -> None:
    """Measure in turns."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    python = options.python.absolute()
    prepare(python)
    times: Times = {}
    for turn in range(options.repeats):
        for arm in random.Random(turn).sample(ARMS, len(ARMS)):
            with Server(arm, python) as server:
                for streams, requests in REQUESTS.items():
                    cell = {"port": server.port, "model": server.model, "streams": streams}
                    used = server.processor_seconds()
                    done = load(python, cell | {"requests": requests, "seed": turn})
                    used = server.processor_seconds() - used
                    done["processor_ms"] = 1000 * used / (streams * requests * NEW_TOKENS)
                    times.setdefault((arm, streams), []).append(done)
                    print(f"  turn {turn}: {arm}, {streams}: {done}", file=sys.stderr, flush=True)
        text = report(times, turn + 1, sys.argv[1:], python)
        target = RESULTS / f"serving-llm-{datetime.now(UTC):%Y-%m-%d}.md"
        target.write_text(text, "utf-8")
    print(f"{text}\nwritten to {target.relative_to(ROOT)}", file=sys.stderr)


def prepare(python: Path) -> None:
    """Render the project, and make the model which all arms load."""
    template = FOLDER / "template"
    for folder in (template, PROJECT, MODEL):
        shutil.rmtree(folder, ignore_errors=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    copy_template(template)
    answers = {"project_name": "Bench", "package_name": "bench", "task": "llm", "gpu": "none"}
    answers |= {"base_model": "scratch", "strategy": "full", "serving": "[fastapi]"}
    data = [f"--data={key}={value}" for key, value in answers.items()]
    copier = [sys.executable, "-m", "copier", "copy", "--trust", "--defaults", "--quiet"]
    command([*copier, *data, template, PROJECT], ROOT, {"ML_TEMPLATE_HOOKS": "off"})()
    command([python, "-m", "compileall", "-q", "src", "inference"], PROJECT)()
    command([python, __file__, "--make-model", MODEL], ROOT)()


def make_model(folder: Path) -> None:
    """Random weights, and a tokenizer of single bytes with a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = {token: i for i, token in enumerate(alphabet)}
    core = Tokenizer(models.BPE(vocab=tokens, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<end>", pad_token="<pad>", model_max_length=1024
    )
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n"
        "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=384,
            intermediate_size=1024,
            num_hidden_layers=6,
            num_attention_heads=6,
            num_key_value_heads=6,
            max_position_embeddings=1024,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            tie_word_embeddings=False,
        )
    )
    # only letters are ever the likeliest: an end token, or half a character, would hide a stream
    letters = [token for token in alphabet if token.isascii() and token.isalpha()]
    silent = [i for token, i in tokenizer.get_vocab().items() if token not in letters]
    with torch.no_grad():
        model.lm_head.weight.mul_(50)
        model.lm_head.weight[silent] = 0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


class Server:
    """An arm's process, pinned to core 0, ready to answer."""

    def __init__(self, arm: str, python: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._arm, self._log = arm, (FOLDER / "server.log").open("wb")
        self.model = MODEL.name if arm == OURS else str(MODEL)
        call = ["taskset", "-c", "0", str(python), "-m"]
        if arm == OURS:
            call += ["inference", "--model", str(MODEL), "--port", str(self.port)]
            call += ["--limits.deadline_seconds", "600", "--service.drain_seconds", "0"]
        else:
            call += ["transformers.cli.transformers", "serve", str(MODEL), "--port", str(self.port)]
            call += ["--host", "127.0.0.1", "--device", "cpu", "--dtype", "float32"]
            call += ["--continuous-batching"] if arm == CONTINUOUS else []
        environment = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": "src"}
        self._process = subprocess.Popen(
            call,
            cwd=PROJECT,
            env={**os.environ, **environment, "TOKENIZERS_PARALLELISM": "false"},
            stdout=self._log,
            stderr=self._log,
        )

    def __enter__(self) -> Server:
        end = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self.__exit__()
                said = Path(self._log.name).read_text("utf-8", errors="replace")
                raise RuntimeError(f"{self._arm} did not start:\n{said[-3000:]}")
            time.sleep(0.5)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def processor_seconds(self) -> float:
        """What the server's process has used so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", PATH, json.dumps(body(self.model, "Hello")), HEADERS)
            response = connection.getresponse()
            response.read()
            return response.status == 200
        except OSError:
            return False
        finally:
            connection.close()


PATH = "/v1/chat/completions"
HEADERS = {"Content-Type": "application/json"}


def body(model: str, prompt: str) -> dict[str, Any]:
    """A greedy request of a fixed length."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": NEW_TOKENS,
        "temperature": 0,
        "stream": True,
    }


def load(python: Path, cell: Mapping[str, Any]) -> dict[str, float]:
    """Run the client on core 1."""
    done = subprocess.run(
        ["taskset", "-c", "1", python, __file__, "--load", json.dumps(cell)],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    said: dict[str, float] = json.loads(done.stdout)
    return said


async def client(port: int, model: str, streams: int, requests: int, seed: int) -> dict[str, float]:
    """Time to first token (median, s) and tokens a second of all streams together."""
    rng = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz "
    prompts = [
        ["".join(rng.choices(letters, k=rng.randint(*PROMPT_CHARACTERS))) for _ in range(requests)]
        for _ in range(streams)
    ]
    firsts: list[float] = []
    written = 0

    async def one(prompt: str) -> None:
        nonlocal written
        content = json.dumps(body(model, prompt)).encode()
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        head += f"Connection: close\r\nContent-Length: {len(content)}\r\n\r\n"
        begun = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + content)
        characters = 0
        while line := await reader.readline():
            if not line.startswith(b"data: {"):
                continue
            choices = json.loads(line[6:])["choices"]
            text = (choices[0]["delta"].get("content") or "") if choices else ""
            if text and not characters:
                firsts.append(time.perf_counter() - begun)
            characters += len(text)
        writer.close()
        if characters != NEW_TOKENS:
            raise RuntimeError(f"{characters} tokens, not {NEW_TOKENS}")
        written += characters

    async def stream(own: Sequence[str]) -> None:
        for prompt in own:
            await one(prompt)

    begun = time.perf_counter()
    await asyncio.gather(*map(stream, prompts))
    seconds = time.perf_counter() - begun
    return {"first_token_s": statistics.median(firsts), "tokens_per_s": written / seconds}


def report(times: Times, repeats: int, arguments: Sequence[str], python: Path) -> str:
    """Two tables: medians over the repeats, lowest to highest."""
    given = " ".join(arguments).replace(str(python), "ENV/bin/python")
    names = ("torch", "transformers", "fastapi", "uvicorn")
    script = "import sys; from importlib.metadata import version as v"
    script += "; print(', '.join(f'{n}=={v(n)}' for n in sys.argv[1:]))"
    versions = subprocess.check_output([python, "-c", script, *names], text=True).strip()
    parts = [
        f"# Serving a language model, {datetime.now(UTC):%Y-%m-%d}\n",
        f"`python benchmarks/serving_llm.py {given}`, on {machine()}: 2 shared cores, CPU only. "
        f"{versions}.\n",
        f"A Llama of 6 layers of 384 in float32 with random weights; prompts of "
        f"{PROMPT_CHARACTERS[0]} to {PROMPT_CHARACTERS[1]} tokens, {NEW_TOKENS} new tokens, "
        f"streamed, greedy. Server on core 0 with one PyTorch thread, client on core 1, "
        f"{repeats} repeats in random order, every arm started anew; median (lowest to highest). "
        "The third table is what the work costs, prompts included, and holds where other work runs "
        "on the same cores too.\n",
    ]
    for key, title, scale in (
        ("first_token_s", "Time to first token, ms (less is better)", 1000),
        ("tokens_per_s", "Tokens per second of all streams (more is better)", 1),
        ("processor_ms", "Processor time per token, ms (less is better)", 1),
    ):
        heads = " | ".join(f"{n} stream{'s' * (n > 1)}" for n in REQUESTS)
        parts += [f"## {title}\n", f"| | {heads} |"]
        parts += ["|---|" + "---:|" * len(REQUESTS)]
        for arm in ARMS:
            cells = []
            for streams in REQUESTS:
                values = sorted(done[key] * scale for done in times[arm, streams])
                middle = statistics.median(values)
                digits = 1 if middle < 100 else 0
                three = (f"{value:,.{digits}f}" for value in (middle, values[0], values[-1]))
                cells.append("{} ({} to {})".format(*three))
            parts.append(f"| {arm} | " + " | ".join(cells) + " |")
        parts.append("")
    return "\n".join(parts)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make-model"]:
        make_model(Path(sys.argv[2]))
    elif sys.argv[1:2] == ["--load"]:
        print(json.dumps(asyncio.run(client(**json.loads(sys.argv[2])))))
    else:
        main()
