# SPDX-License-Identifier: MIT
"""How the VM ends while it works: cleanly on a signal or on request, with a summary in the
log, a last word to every client, and nothing left in the file system.
"""

import re
import signal

import pytest
from devices import PORT, Counter
from harness import DEADLINE, PROMPT, eventually

import kvmcpu
from kvmcpu.schema import exit_

WRITE = 0
SUMMARY = re.compile(r"ended \((.*)\) after \d+\.\d{3} s: (\d+) exits \((\d+) io, 0 mmio, 0 halts; "
                     r"0 unclaimed\), (\d+) ticks")


def under_load(start, guest, vcpus=2):
    """A daemon whose vCPUs write without an end; returns it with all that is attached."""
    daemon = start(*guest("loop", cpus=vcpus, PORT=PORT, KIND=WRITE, N=0), "--paused")
    counter, control = Counter(), daemon.control()
    counter.ticks = 3
    serving, monitor = daemon.serve(counter), daemon.monitor()
    control.resume()
    eventually("fifty accesses of each vCPU", lambda: len(counter.writes) == vcpus and all(
        len(written) > 50 for written in list(counter.writes.values())))
    return daemon, counter, control, serving, monitor


def check_end(daemon, counter, serving, monitor, why):
    """The summary is the device's count, but for one access that each vCPU may have in flight."""
    notice = serving.join()
    assert notice.code == exit_.NOTICE_CODE_STOPPED and "stopped" in notice.message
    found = SUMMARY.search(daemon.stderr)
    assert found, daemon.stderr
    assert why in found[1]
    exits, io, ticks = map(int, found.groups()[1:])
    assert counter.total - 2 <= io <= counter.total + 2 and io <= exits
    assert ticks % 3 == 0 and 0 <= counter.total - ticks // 3 <= 2
    seqs = {0: [], 1: []}
    for happened in monitor:  # ends with the VM
        seqs[happened.vcpu].append(happened.seq)
    if not monitor.lost_total:
        for numbers in seqs.values():
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load(start, guest, number):
    daemon, counter, control, serving, monitor = under_load(start, guest)
    daemon.stop(number)
    check_end(daemon, counter, serving, monitor, number.name)
    with pytest.raises(kvmcpu.Closed):
        control.ping()
    with pytest.raises(kvmcpu.ConnectError, match="no daemon listens"):
        daemon.control()


def test_stop_on_request_under_load(start, guest):
    daemon, counter, control, serving, monitor = under_load(start, guest)
    control.stop(code=21, reason="that will do")
    daemon.ended(expect=21)
    check_end(daemon, counter, serving, monitor, "that will do")


def test_stop_while_a_device_withholds_its_answer(start, guest):
    """Nobody waits for it."""
    class Silent(Counter):
        def write(self, access):
            super().write(access)
            raise SystemExit

    daemon = start(*guest("loop", cpus=2, PORT=PORT, KIND=WRITE, N=0), "--paused")
    silent, control = Silent(), daemon.control()
    server = kvmcpu.Server([silent], **daemon.where)
    control.resume()
    with pytest.raises(SystemExit):
        server.serve_one(timeout=DEADLINE)
    control.wait_until(lambda s: all(vcpu.HasField("wait") for vcpu in s.vcpus))
    daemon.stop(timeout=PROMPT)
    assert not server.serve_one(timeout=PROMPT)
    assert server.notice.code == exit_.NOTICE_CODE_STOPPED
    server.close()
    assert silent.total == 1


def test_stop_while_the_owner_is_away(start, guest):
    daemon = start(*guest("loop", PORT=PORT, KIND=WRITE, N=0), "--paused")
    control = daemon.control()
    daemon.serve(Counter()).close()
    control.resume()
    control.wait_until(lambda s: s.vcpus[0].HasField("wait"))
    daemon.stop(timeout=PROMPT)


def test_stop_while_paused(start, guest):
    daemon, *_, control, _, _ = under_load(start, guest)
    control.pause()
    daemon.stop(timeout=PROMPT)
