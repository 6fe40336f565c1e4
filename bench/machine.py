"""What the measurement runs on: processor time of processes, pinning to cores, a description. Linux only in part."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_PROC = Path("/proc")


def cpu_seconds(pids: Iterable[int]) -> float | None:
    """Processor time of the processes so far, in user and kernel, and of their children that ended; None without /proc.

    The kernel counts in ticks of usually 10 ms, so a measurement takes seconds.
    """
    if not _PROC.exists():
        return None
    ticks = 0
    for pid in pids:
        fields = _stat(pid)
        if fields is not None:
            ticks += sum(int(value) for value in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """The processes whose parent this is."""
    if not _PROC.exists():
        return []
    found = []
    for folder in _PROC.iterdir():
        if folder.name.isdecimal():
            fields = _stat(int(folder.name))
            if fields is not None and int(fields[1]) == pid:
                found.append(int(folder.name))
    return sorted(found)


def command_line(pid: int) -> str:
    """How a process was started; empty where it is gone."""
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def peak_memory(pid: int) -> int:
    """The most memory that a process had in use, in bytes; 0 without /proc, or where it is gone."""
    try:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def pin(pids: Iterable[int], cores: Iterable[int]) -> None:
    """Keeps every thread of the processes on these cores; does nothing where that is not possible."""
    wanted = set(cores)
    if not wanted or not hasattr(os, "sched_setaffinity"):
        return
    for pid in pids:
        try:
            for thread in (_PROC / str(pid) / "task").iterdir():
                os.sched_setaffinity(int(thread.name), wanted)
        except OSError:
            continue


def usable_cores() -> list[int]:
    """The cores this process may use; empty where it cannot be known or chosen."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def describe() -> dict[str, Any]:
    """Processor, cores, load of the machine before the run, versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0],
        "load_average_before": round(os.getloadavg()[0], 2),
        "nginx": _nginx_version(),
    }


def _processor() -> str:
    try:
        for line in (_PROC / "cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _nginx_version() -> str | None:
    path = shutil.which("nginx")
    if path is None:
        return None
    answer = subprocess.run([path, "-v"], capture_output=True, text=True, check=False)
    return (answer.stderr or answer.stdout).strip().rpartition("/")[2]


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat after the name: state, parent, ..., utime (11), stime, cutime, cstime."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()
