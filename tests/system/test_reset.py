# SPDX-License-Identifier: MIT
"""A guest's reset, told apart from its end: with --on-reset restart the VM starts again in the
same daemon, and waits for its devices; without, the daemon ends.
"""

import os
import re
import time

from devices import PORT, counts
from harness import DEADLINE, USAGE, eventually
from raw import FILL, Peer, claim

from kvmcpu.schema import event, exit_

RESET = exit_.Effect(stop_vm=exit_.StopVm(code=3, reason="guest reset", reset=True))
STOP = exit_.Effect(stop_vm=exit_.StopVm(code=4, reason="guest off"))
WRITE = 0


def board(daemon, **options):
    peer = Peer(daemon, "device")
    reply = peer.greet("device", claims=[claim(PORT, PORT + 63, **options)])
    return peer, reply.vm.instance


def values(peer, count):
    """What the next count writes say; each is answered."""
    seen = []
    for _ in range(count):
        exit = peer.exit()
        seen.append(int.from_bytes(exit.pio.data, "little"))
        peer.send_message(exit_.ExitReply(seq=exit.seq))
    return seen


def reset(peer, effect=RESET):
    """Answers the next exit with effect, and returns that exit and the last word."""
    exit = peer.exit()
    peer.send_message(exit_.ExitReply(seq=exit.seq, effects=[effect]))
    notice = peer.exit()
    assert peer.receive_some() == b"", "the channel lives on"
    peer.close()
    return exit, notice.notice


def descriptors(daemon):
    return len(os.listdir(f"/proc/{daemon.pid}/fd"))


def loop(guest, **symbols):
    return guest("loop", mode="real", KIND=WRITE, N=0, PORT=PORT, **symbols)


def test_the_vm_starts_again(start, guest):
    daemon = start(*loop(guest), "--paused", "--on-reset", "restart")
    peer, first = board(daemon)
    control = daemon.control()
    control.resume()
    assert values(peer, 3) == [1, 2, 3]
    control.write_memory(0x50000, b"left over")
    exit, notice = reset(peer)
    assert notice.code == exit_.NOTICE_CODE_RESET and "starts again" in notice.message
    # It waits for its device as for one that died, with the first access of a new life.
    status = control.wait_until(lambda s: s.vcpus[0].wait.cause != 0, DEADLINE)
    assert status.vcpus[0].wait.address == PORT
    assert control.read_memory(0x50000, 9) == bytes(9), "memory outlives the reset"
    peer, second = board(daemon)
    assert second not in (0, first), "two lives of a VM look alike"
    again = peer.exit()
    assert (again.pio.data[0], again.seq, again.redelivered) == (1, exit.seq + 1, False)
    peer.send_message(exit_.ExitReply(seq=again.seq))
    assert values(peer, 3) == [2, 3, 4]
    assert "the VM starts again: guest reset" in daemon.stderr
    assert daemon.running


def test_many_resets_in_a_row(start, guest):
    """Also of several vCPUs with exits in flight on channels of their own."""
    daemon = start(*loop(guest, cpus=4, STRIDE=16), "--paused", "--on-reset", "restart")
    control = daemon.control()
    control.ping()  # its connection is accepted, and counted
    before = descriptors(daemon)
    for _ in range(20):
        peers = [Peer(daemon, "device") for _ in range(4)]
        for n, peer in enumerate(peers):
            peer.greet("device", claims=[claim(PORT + 16 * n)])
        control.resume()
        waiting = [peer.exit() for peer in peers]
        assert [int.from_bytes(exit.pio.data, "little") for exit in waiting] == [1] * 4
        peers[2].send_message(exit_.ExitReply(seq=waiting[2].seq, effects=[RESET]))
        for peer in peers:
            assert peer.exit().notice.code == exit_.NOTICE_CODE_RESET
            peer.close()
    eventually("no descriptor is left behind", lambda: descriptors(daemon) == before)


def test_a_filled_range_does_not_wait(start, guest):
    """Absence means the same behind a reset as elsewhere."""
    daemon = start(*loop(guest), "--on-reset", "restart")
    peer, _ = board(daemon, absence=FILL)
    reset(peer)
    control = daemon.control()
    eventually("the guest runs without its device", lambda: counts(control)[0] > 10)


def test_a_monitor_sees_both_lives(start, guest):
    daemon = start(*loop(guest), "--paused", "--on-reset", "restart")
    monitor, control = daemon.monitor(), daemon.control()
    peer, _ = board(daemon)
    control.resume()
    values(peer, 2)
    reset(peer)
    peer, _ = board(daemon)
    values(peer, 2)
    written = []
    for happened in monitor:
        if happened.WhichOneof("what") == "exit" and happened.exit.exit.HasField("pio"):
            written.append(int.from_bytes(happened.exit.exit.pio.data, "little"))
        if len(written) == 5:
            break
    assert written == [1, 2, 3, 1, 2] and monitor.lost_total == 0


def test_the_default_is_the_end(start, guest):
    daemon = start(*loop(guest))
    peer, _ = board(daemon)
    values(peer, 2)
    _, notice = reset(peer)
    assert notice.code == exit_.NOTICE_CODE_STOPPED
    assert daemon.wait() == 3


def test_an_end_is_no_reset(start, guest):
    daemon = start(*loop(guest), "--on-reset", "restart")
    peer, _ = board(daemon)
    _, notice = reset(peer, STOP)
    assert notice.code == exit_.NOTICE_CODE_STOPPED
    assert daemon.wait() == 4


def test_an_end_comes_before_a_reset(start, guest):
    """Both in one reply, in either order."""
    for effects in ([RESET, STOP], [STOP, RESET]):
        daemon = start(*loop(guest), "--on-reset", "restart")
        peer, _ = board(daemon)
        exit = peer.exit()
        peer.send_message(exit_.ExitReply(seq=exit.seq, effects=effects))
        assert daemon.wait() == 4


def test_a_reset_over_control(start, guest):
    daemon = start(*loop(guest), "--on-reset", "restart")
    peer, _ = board(daemon)
    values(peer, 5)
    daemon.control().effect(RESET)
    while peer.exit().WhichOneof("kind") != "notice":
        pass
    peer.close()
    peer, _ = board(daemon)
    assert values(peer, 2) == [1, 2]


def test_a_line_decided_before_the_reset(start, guest):
    """It belongs to the life before."""
    daemon = start(*guest("line", mode="real", PORT=PORT), "--irqchip", "kernel",
                   "--on-reset", "restart")
    peer, _ = board(daemon)
    before = time.monotonic_ns()
    reset(peer)
    control = daemon.control()
    control.wait_until(lambda s: s.vcpus[0].wait.cause != 0, DEADLINE)
    peer, _ = board(daemon)
    control.effect(exit_.Effect(set_irq_line=exit_.SetIrqLine(gsi=4, level=True,
                                                              decided_ns=before)))
    assert values(peer, 2) == [0, 0]


def test_a_stopped_vcpu_lives_again(start, guest):
    """One vCPU had stopped for good when the other asked for the reset."""
    daemon = start(*loop(guest, cpus=2, STRIDE=16), "--strict", "--paused",
                   "--on-reset", "restart")
    peer = Peer(daemon, "device")
    peer.greet("device", claims=[claim(PORT)])
    control = daemon.control()
    control.resume()
    control.wait_until(lambda s: s.vcpus[1].state == event.VCPU_STATE_STOPPED, DEADLINE)
    reset(peer)
    peer = Peer(daemon, "device")
    peer.greet("device", claims=[claim(PORT)])
    eventually("vCPU 1 stops anew, for the same reason",
               lambda: len(re.findall("vCPU 1 stopped for good: strict", daemon.stderr)) == 2)


def test_an_image_that_is_gone(start, guest, tmp_path):
    """What cannot start again ends, and says why."""
    image = tmp_path / "image.bin"
    options = loop(guest)
    image.write_bytes(open(options[1].split("@")[0], "rb").read())
    options[1] = f"{image}@0x8000"
    daemon = start(*options, "--on-reset", "restart")
    peer, _ = board(daemon)
    image.unlink()
    reset(peer)
    assert daemon.wait() == 66
    assert f"cannot read {image}" in daemon.stderr


def test_a_wrong_value(start):
    daemon = start("--on-reset", "maybe", wait=False)
    assert daemon.wait() == USAGE
    assert "--on-reset maybe: give stop or restart" in daemon.stderr
