# SPDX-License-Identifier: MIT
"""SeaBIOS boots with every device in another process, and a monitor that was there
before the first instruction has seen every exit that the daemon counted.

SeaBIOS's own log on port 0x402 is what a user looks at; its last line comes when
it has found nothing to boot from.
"""

import pathlib
import sys

import pytest
from devices import total
from harness import DEADLINE, KVMCPU_PC

from kvmcpu.schema import event

FIRMWARE = pathlib.Path("/usr/share/seabios/bios.bin")
LAST_WORDS = b"No bootable device."
BY_KIND = {"pio": "num_io", "mmio": "num_mmio", "halt": "num_halt",
           "hypercall": "num_hypercalls", "msr": "num_msr", "interrupted": "num_exit_signal"}


@pytest.fixture
def firmware():
    if not FIRMWARE.exists():
        pytest.skip(f"{FIRMWARE} is missing: install seabios")
    return ["--firmware", str(FIRMWARE), "--irqchip", "kernel", "--memory", "64M"]


def printed(events):
    """What was written to the debug console."""
    return b"".join(happened.exit.exit.pio.data for happened in events
                    if happened.exit.exit.pio.port == 0x402)


def boot(start, firmware, spawn_devices):
    """Boots to the last words; returns daemon, console text, events, stats."""
    daemon = start(*firmware, "--paused")
    monitor = daemon.monitor(timeout=DEADLINE)
    control = daemon.control()
    devices = spawn_devices(daemon)
    assert control.status().vcpus[0].exit_seq == 0, "it ran before anybody watched"
    control.resume()
    events, said = [], bytearray()
    while not said.endswith(LAST_WORDS):
        events.append(next(monitor))
        said += printed([events[-1]])
    control.pause()
    stats = control.stats()
    while events[-1].seq < total(stats, "num_events"):
        events.append(next(monitor))
    assert not monitor.lost_total
    return daemon, devices, events, stats


def check(daemon, devices, events, stats):
    first = events[0].seq  # the daemon's own start was before anybody could watch
    assert [happened.seq for happened in events] == list(range(first, first + len(events)))

    exits = [happened.exit for happened in events if happened.HasField("exit")]
    assert [record.exit.seq for record in exits] == list(range(1, len(exits) + 1))
    vcpu = stats.vcpus[0]
    assert len(exits) == vcpu.num_vm_exits > 5000
    kinds = [record.exit.WhichOneof("kind") for record in exits]
    for kind, field in BY_KIND.items():
        assert kinds.count(kind) == getattr(vcpu, field), kind
    assert len(exits) == sum(getattr(vcpu, field) for field in BY_KIND.values()) + vcpu.num_other

    answers = [record.answered_by for record in exits]
    claimed = sum(claim.reads + claim.writes for claim in stats.claims)
    assert answers.count(event.ANSWERER_CLIENT) == claimed > 1000
    assert answers.count(event.ANSWERER_UNCLAIMED) == vcpu.num_unclaimed

    daemon.stop()
    assert devices.wait() == 0
    assert devices.stdout == printed(events), "the monitor saw other text than the device printed"
    assert b"SeaBIOS (version" in devices.stdout
    assert f"{len(exits)} exits" in daemon.stderr


@pytest.mark.quick
def test_python_devices(start, firmware):
    def spawn(daemon):
        return daemon.spawn_ready([sys.executable, "-m", "kvmcpu.devices", *daemon.words], "pc")

    check(*boot(start, firmware, spawn))


def test_c_devices(start, firmware):
    def spawn(daemon):
        return daemon.spawn_ready([KVMCPU_PC, *daemon.words], "pc")

    check(*boot(start, firmware, spawn))
