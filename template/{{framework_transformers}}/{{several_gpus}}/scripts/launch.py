"""Start a script once for each GPU, and end as it ends.

python scripts/launch.py --gpus 4 scripts/train.py --config configs/train.yaml
python scripts/launch.py --gpus 8 --nodes 2 --node-rank 0 --master 10.0.0.1:29500 scripts/train.py …

On several machines, run it on each with the same --master, the first machine's address. The
script's processes find their place in the variables that torchrun sets too; torchrun does as
well, but whatever happens it exits with 1, and it grants 30 seconds after SIGTERM. Here the exit
code is the script's (75: stopped with a checkpoint), and a stop takes the time it takes.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from types import FrameType
from typing import IO

GRACE_S = 20.0  # for the others, after one process has failed: they may be telling the same
POLL_S = 0.1
FINE = (0, 75)  # done; stopped with a checkpoint
LEFT_ALONE = 70  # ended because another one did: EXIT_LEFT_ALONE of the package

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None

Process = subprocess.Popen[bytes]


def main() -> int:
    """Return the exit code of the process that failed, else that of the main one."""
    arguments = _parsed()
    signal.signal(signal.SIGTERM, _forward)
    signal.signal(signal.SIGINT, _forward)
    logs = [tempfile.TemporaryFile() for _ in range(arguments.gpus - 1)]  # noqa: SIM115
    for rank, environment in enumerate(_environments(arguments)):
        # only the first talks; what the others say is shown if one of them fails
        output = None if rank == 0 else logs[rank - 1]
        _processes.append(
            subprocess.Popen(
                [sys.executable, *arguments.command],
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C comes from here, once
                preexec_fn=_end_with_launcher if LIBC else None,
            )
        )
    _wait()
    codes = [process.returncode for process in _processes]
    # the others were only left alone; the main one has said itself what was wrong
    failed = next((rank for rank, code in enumerate(codes) if code not in (*FINE, LEFT_ALONE)), 0)
    if failed:
        print(f"process {failed} ended with {codes[failed]}:", file=sys.stderr, flush=True)
        _show(logs[failed - 1])
    code = codes[failed]
    return 1 if code < 0 or code == LEFT_ALONE else code  # below 0: killed by a signal


_processes: list[Process] = []


def _end_with_launcher() -> None:
    """In a new process: be told to stop should the launcher be killed, which can forward nothing.

    Linux only. Elsewhere such a process has to be ended by hand.
    """
    if LIBC:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _forward(number: int, frame: FrameType | None) -> None:
    for process in _processes:
        if process.poll() is None:
            process.send_signal(number)


def _wait() -> None:
    """Wait for all; those that have not noticed that one failed are ended."""
    deadline = None
    while None in (codes := [process.poll() for process in _processes]):
        if deadline is None and any(code not in (None, *FINE) for code in codes):
            deadline = time.monotonic() + GRACE_S
        if deadline and time.monotonic() > deadline:
            for process in _processes:
                if process.poll() is None:
                    process.kill()
                    process.wait()
                    process.returncode = LEFT_ALONE
        time.sleep(POLL_S)


def _show(log: IO[bytes]) -> None:
    log.seek(0)
    lines = log.read().decode(errors="replace").splitlines()
    print("\n".join(lines[-40:]), file=sys.stderr)


def _environments(arguments: argparse.Namespace) -> list[dict[str, str]]:
    """What tells each process its place, as torchrun does."""
    host, _, port = arguments.master.partition(":")
    processes = arguments.gpus * arguments.nodes
    # one thread each, as torchrun does: they would fight for the cores
    threads = {"OMP_NUM_THREADS": "1"} if processes > 1 else {}
    shared = {
        **threads,
        **os.environ,
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(arguments.gpus),
        "MASTER_ADDR": host,
        "MASTER_PORT": port or str(_free_port()),
    }
    return [
        {**shared, "RANK": str(arguments.node_rank * arguments.gpus + i), "LOCAL_RANK": str(i)}
        for i in range(arguments.gpus)
    ]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _parsed() -> argparse.Namespace:
    parser = _parser()
    arguments = parser.parse_args()
    _, _, port = arguments.master.partition(":")
    if not arguments.command:
        parser.error("name the script to start")
    if not 0 <= arguments.node_rank < arguments.nodes:
        parser.error(
            f"--node-rank {arguments.node_rank}: machines are numbered from 0 to "
            f"{arguments.nodes - 1}; --nodes says how many there are"
        )
    if arguments.nodes > 1 and not port:  # each machine would take another free one, and wait
        parser.error(
            f"--master {arguments.master}: several machines need the same host:port of machine 0, "
            "such as 10.0.0.1:29500"
        )
    if port and not (port.isdecimal() and 0 < int(port) < 2**16):
        parser.error(f"--master {arguments.master}: the port must be a number from 1 to 65535")
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gpus", type=_positive, required=True, help="processes on this machine")
    parser.add_argument("--nodes", type=_positive, default=1, help="machines")
    parser.add_argument("--node-rank", type=int, default=0, help="number of this machine, from 0")
    parser.add_argument(
        "--master", default="127.0.0.1", help="host:port of machine 0, reachable from all"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="script and its arguments")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    sys.exit(main())
