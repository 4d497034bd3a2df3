# SPDX-License-Identifier: MIT
"""What the figures depend on besides the program: the machine, without its name."""

import datetime
import os
import pathlib
import platform
import subprocess


def _cpu_model():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def kvm_module():
    """kvm_intel, kvm_amd or whatever serves /dev/kvm."""
    found = [m.name for m in sorted(pathlib.Path("/sys/module").glob("kvm_*"))]
    return ", ".join(found) or "built in"


def describe(setting, rounds):
    version = subprocess.run([setting.program("kvmcpud"), "--version"], capture_output=True,
                             text=True, check=False).stdout.split()
    return {
        "kernel": f"{platform.system()} {platform.release()}",
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "kvm_module": kvm_module(),
        "kvmcpud": version[1] if len(version) > 1 else "unknown",
        "load_before": round(os.getloadavg()[0], 2),
        "rounds": rounds,
        "exits_per_round": setting.exits,
    }
