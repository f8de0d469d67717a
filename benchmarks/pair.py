"""Two packages, each in a process of its own, doing the same job in turn.

Machines change speed from minute to minute, so only ratios within one run count: the calls are interleaved, memory is touched once before,
and each package's first (cold) call is reported beside the median of the later ones.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Measured:
    """One package's figures: seconds cold, seconds of each later call, and the highest resident memory (GiB), workers included."""

    package: str
    cold: float
    warm: tuple[float, ...]
    peak: float

    @property
    def median(self) -> float:
        return statistics.median(self.warm)


def serve(jobs: dict[str, Callable[[list[str]], object]]) -> None:
    """Be one of the two processes: run the job of a package each time a line comes in; answer with seconds and peak memory."""
    package, *arguments = sys.argv[2:]
    job = jobs[package]
    quiet = os.dup(1)
    os.dup2(2, 1)  # whatever a package prints goes to stderr; the answers keep the pipe
    with os.fdopen(quiet, "w") as answers:
        for _ in sys.stdin:
            Path("/proc/self/clear_refs").write_text("5")  # start VmHWM anew
            start = time.perf_counter()
            result = job(arguments)
            seconds = time.perf_counter() - start
            del result
            print(json.dumps({"seconds": seconds, "peak": _peak_gib()}), file=answers, flush=True)


def compare(
    module: str, packages: tuple[str, ...], arguments: list[str], *, rounds: int, environment: dict[str, str] | None = None
) -> list[Measured]:
    """Run the packages in turn, `rounds` times after a cold call each."""
    _touch_memory()
    workers = {p: _worker(module, p, arguments, environment) for p in packages}
    answers: dict[str, list[dict[str, float]]] = {p: [] for p in packages}
    try:
        for _ in range(rounds + 1):
            for package, worker in workers.items():
                assert worker.stdin and worker.stdout
                worker.stdin.write("go\n")
                worker.stdin.flush()
                line = worker.stdout.readline()
                if not line:
                    raise SystemExit(f"the {package} process stopped; see its messages above")
                answers[package].append(json.loads(line))
    finally:
        for worker in workers.values():
            worker.kill()
            worker.wait()
    return [Measured(p, a[0]["seconds"], tuple(x["seconds"] for x in a[1:]), max(x["peak"] for x in a)) for p, a in answers.items()]


def report(title: str, measured: list[Measured]) -> None:
    """Print the figures and the ratios of the first package to the others."""
    print(f"\n{title}\n{'package':<22}{'cold s':>9}{'median s':>10}{'min–max s':>16}{'peak GiB':>10}{'faster':>9}{'memory':>9}")
    first = measured[0]
    for m in measured:
        spread = f"{min(m.warm):.2f}–{max(m.warm):.2f}"
        figures = f"{m.cold:>9.2f}{m.median:>10.2f}{spread:>16}{m.peak:>10.2f}"
        print(f"{m.package:<22}{figures}{first.median / m.median:>8.1f}×{m.peak / first.peak:>8.2f}×")


def _worker(module: str, package: str, arguments: list[str], environment: dict[str, str] | None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", module, "--serve", package, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, **(environment or {})},
    )  # fmt: skip


def _peak_gib() -> float:
    """Return the most memory that this process and its workers had, each for itself."""
    me, total = os.getpid(), 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            continue
        if me in (int(fields["Pid"]), int(fields["PPid"])) and "VmHWM" in fields:
            total += int(fields["VmHWM"].split()[0])
    return total / 2**20


def _touch_memory(gib: int = 8) -> None:
    """Touch memory once: the first touch of fresh memory can cost more than the work."""
    block = bytearray(gib * 2**30 // 4)
    for start in range(0, len(block), 4096):
        block[start] = 1
