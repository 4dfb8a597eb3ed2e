"""Memory and processor time of a process and its children, from /proc."""

import os
import subprocess
from pathlib import Path


def processes_of(process: "subprocess.Popen[bytes]") -> list[int]:
    """Process ids of the process and its children; its own alone where there is no /proc."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [process.pid, *map(int, children.read_text().split())] if children.exists() else [process.pid]


def resident_mb(pids: list[int]) -> str:
    """Resident memory of each, "27 + 61"."""
    found = []
    for pid in pids:
        status = Path(f"/proc/{pid}/status")
        if status.exists():
            found += [int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith("VmRSS")]
    return " + ".join(f"{size:.0f}" for size in found) or "unknown"


def processor_s(pids: list[int]) -> float:
    """Seconds of processor time that they have used together; 0 where there is no /proc."""
    ticks = 0
    for pid in pids:
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists():
            ticks += sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")
