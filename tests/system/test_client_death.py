# SPDX-License-Identifier: MIT
"""A device process is felled by SIGKILL at each stage of an exit and replaced; by
the guest's own count no access is lost and none is done twice.

The guest reads or writes one port for ever and counts. The ledger in this
process is the devices' memory: it gives out 1, 2, 3 ... or notes what was
written, once for each (vcpu, seq), so the guest's sum, or the list of writes,
tells of any exit that was dropped or carried out again.
"""

import time

import pytest
from devices import PORT, WAIT_ABSENT, WAIT_REPLY, WAIT_TURN, counts
from harness import eventually
from knock import DIRECTIONS, Machine, check_absent
from raw import FILL, OK, OVERLAP, Peer, Victim, claim, hello

from kvmcpu import schema
from kvmcpu.framing import frame


@pytest.fixture
def machine(start, guest):
    return lambda *arguments, **options: Machine(start, guest, *arguments, **options)


def test_killed_before_hello(machine):
    m = machine()
    with m.successor() as owner:
        m.control.resume()
        owner.serve(m.ledger, 3)
        stranger = Victim(m.daemon)
        stranger.kill()
        owner.serve(m.ledger, 3)
        eventually("nobody but owner and controller",
                   lambda: len(m.control.clients().clients) == 2)
        m.finish(owner)
    assert not m.ledger.redelivered


@pytest.mark.parametrize("exit_there", [False, True], ids=["nothing-sent", "exit-sent"])
def test_killed_with_its_hello_reply_unread(machine, exit_there):
    m = machine()
    victim = Victim(m.daemon)
    victim.send_message(hello("device", name="victim", claims=[claim(PORT, name="knock")]))
    victim.wait_readable()
    since = time.monotonic_ns()
    if exit_there:
        eventually("claims in force", lambda: m.control.clients().claims)
        m.control.resume()
        m.wait_for(WAIT_REPLY)
        # The wait shows before the exit is sent: a settled pause tells nothing about it
        # either, but the vCPU sleeps in the kernel only behind its sending.
        eventually("a vCPU that sleeps", lambda: asleep(m))
    victim.kill()
    if not exit_there:
        m.control.resume()
    check_absent(*m.wait_for(WAIT_ABSENT), since)
    with m.successor() as owner:
        first, *_ = owner.serve(m.ledger, 3)
        assert first.redelivered == exit_there
        m.finish(owner)
    assert len(m.ledger.redelivered) == exit_there


def asleep(m):
    """Whether vCPU 0's thread sleeps, by the kernel's word."""
    thread = m.control.status().vcpus[0].thread_id
    with open(f"/proc/{m.daemon.pid}/task/{thread}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()[0] == "S"


def test_killed_idle(machine):
    """No exit is in flight: what comes later was never sent to anybody before."""
    m = machine()
    victim = m.victim()
    m.control.resume()
    victim.serve(m.ledger, 2)
    victim.wait_readable()
    served = pause_and_drain(m, victim)
    victim.kill()
    eventually("an absent owner", lambda: m.control.clients().claims[0].client_id == 0)
    assert m.wait().cause == 0
    since = time.monotonic_ns()
    m.control.resume()
    check_absent(*m.wait_for(WAIT_ABSENT), since)
    with m.successor() as owner:
        after = owner.serve(m.ledger, 3)
        assert not any(exit.redelivered for exit in after)
        assert after[0].seq > served
        m.finish(owner)


def pause_and_drain(m, link):
    """Pauses the VM and answers what is in flight; the seq answered last."""
    with Peer(m.daemon, "control") as control:
        control.greet("control")
        control.send_message(schema.control.Request(id=1, pause=schema.control.PauseCall()))
        eventually("a paused vCPU", lambda: m.control.status().vcpus[0].paused)
        last, = link.serve(m.ledger)
        assert not control.response().status.vcpus[0].HasField("wait")
    return last.seq


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("stage", ["delivered", "read"])
def test_killed_without_an_answer(machine, direction, stage):
    m = machine(direction)
    since = time.monotonic_ns()
    victim = m.victim()
    m.control.resume()
    victim.serve(m.ledger, 3)
    victim.wait_readable()
    if stage == "read":
        seen = victim.exit()
        m.ledger.answer(seen)  # the device has done it; only the answer is missing
    victim.kill()
    status, vcpu = m.wait_for(WAIT_ABSENT)
    check_absent(status, vcpu, since)
    with m.successor() as owner:
        exit, = owner.serve(m.ledger)
        assert exit.redelivered and exit.seq == vcpu.exit_seq
        if stage == "read":
            seen.redelivered = True
            assert exit == seen, "another exit than the one in flight"
        assert not any(later.redelivered for later in owner.serve(m.ledger, 3))
        m.finish(owner)
    assert len(m.ledger.redelivered) == 1
    assert m.control.stats().vcpus[0].num_redelivered == 1


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_killed_within_its_reply(machine, direction):
    """After each byte of the frame but the last, one victim behind another."""
    m = machine(direction)
    m.control.pause()
    victim = m.victim()
    m.control.resume()
    sent, exit = 0, victim.exit()
    while True:
        payload = frame(m.ledger.answer(exit).SerializeToString())
        sent += 1
        if sent == len(payload):
            break
        victim.send(payload[:sent])
        victim.kill()
        m.wait_for(WAIT_ABSENT)
        victim, seq = m.victim(), exit.seq
        exit = victim.exit()
        assert (exit.seq, exit.redelivered) == (seq, True)
    victim.kill()
    assert sent > 3
    with m.successor() as owner:
        owner.serve(m.ledger, 3)
        m.finish(owner)
    assert set(m.ledger.redelivered) == {(0, exit.seq)}
    assert m.control.stats().vcpus[0].num_redelivered == sent


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("pace", ["paused", "running"])
def test_killed_behind_its_reply(machine, direction, pace):
    """The reply counts. Paused, no further exit can have reached the victim."""
    m = machine(direction)
    victim = m.victim()
    m.control.resume()
    victim.serve(m.ledger, 2)
    last = victim.exit()
    with Peer(m.daemon, "control") as control:
        control.greet("control")
        if pace == "paused":
            control.send_message(schema.control.Request(id=1, pause=schema.control.PauseCall()))
            eventually("a paused vCPU", lambda: m.control.status().vcpus[0].paused)
        victim.send_message(m.ledger.answer(last))
        victim.kill()
        if pace == "paused":
            assert not control.response().status.vcpus[0].HasField("wait")
            m.control.resume()
    m.wait_for(WAIT_ABSENT)
    with m.successor() as owner:
        after = owner.serve(m.ledger, 3)
        assert (0, last.seq) not in [(exit.vcpu, exit.seq) for exit in after]
        if pace == "paused":
            assert not m.ledger.redelivered
        assert not any(exit.redelivered for exit in after[1:])
        m.finish(owner)


def test_killed_while_another_vcpu_waits_for_its_turn(machine):
    m = machine(cpus=2)
    since = time.monotonic_ns()
    victim = m.victim()
    m.control.resume()
    sent = victim.exit()
    other = 1 - sent.vcpu
    _, vcpu = m.wait_for(WAIT_TURN, other)
    assert (vcpu.wait.claim, vcpu.wait.client) == ("knock", "victim")
    victim.kill()
    for index in (0, 1):
        check_absent(*m.wait_for(WAIT_ABSENT, index), since)
    with m.successor() as owner:
        first = owner.serve_each(m.ledger, (0, 1))
        assert first[sent.vcpu].seq == sent.seq and first[sent.vcpu].redelivered
        assert not first[other].redelivered
        owner.serve(m.ledger, 4)
        m.finish(owner)
    assert m.ledger.redelivered == [(sent.vcpu, sent.seq)]


def test_fill_goes_on_without_a_wait(machine):
    m = machine()
    fill = 0x1_0000_0007  # of which four bytes fit
    victim = m.victim(claim(PORT, name="knock", absence=FILL, fill=fill))
    m.control.resume()
    victim.serve(m.ledger, 3)
    victim.exit()
    before = counts(m.control)[0]
    victim.kill()
    eventually("a guest that goes on", lambda: counts(m.control)[0] > before + 20)
    assert m.wait().cause != WAIT_ABSENT
    m.control.pause()
    with m.successor() as owner:
        m.control.resume()
        owner.serve(m.ledger, 3)
        filled = m.control.stats().vcpus[0].num_filled
        assert filled > 20
        m.finish(owner, filled, 7)
    assert not m.ledger.redelivered, "the fill was the answer"


def test_replaced_by_parts_of_the_range(machine):
    """Whoever covers the address gets the exit; the rest stays the absent owner's."""
    m = machine(port=PORT + 8)
    victim = m.victim(claim(PORT, PORT + 15, name="knock"))
    m.control.resume()
    seen = victim.exit()
    victim.kill()
    m.wait_for(WAIT_ABSENT)
    with m.successor(claim(PORT, PORT + 7), name="below") as below:
        assert m.wait().client == "victim"
        rest, = [c for c in m.control.clients().claims if not c.client_id]
        assert (rest.first, rest.last, rest.client) == (PORT + 8, PORT + 15, "victim")
        with m.successor(claim(PORT + 8, PORT + 11), name="middle") as middle:
            exit, = middle.serve(m.ledger)
            assert (exit.seq, exit.redelivered) == (seen.seq, True)
        assert not below.readable(0)
    m.wait_for(WAIT_ABSENT)
    with m.successor(claim(PORT - 16, PORT + 31), name="around") as around:
        around.serve(m.ledger, 3)
        assert [c.client for c in m.control.clients().claims] == ["around"]
        m.finish(around)


def test_two_replacements_race(machine):
    m = machine()
    victim = m.victim()
    m.control.resume()
    victim.exit()
    rivals = {name: Peer(m.daemon, "device") for name in ("one", "two")}
    victim.kill()
    for name, rival in rivals.items():
        rival.send_message(hello("device", name=name, claims=[claim(PORT, name="knock")]))
    replies = {name: rival.welcome() for name, rival in rivals.items()}
    winner, = [name for name, reply in replies.items() if reply.status == OK]
    loser, = [name for name in rivals if name != winner]
    assert replies[loser].status == OVERLAP
    assert f'"{winner}"' in replies[loser].message and "0x500" in replies[loser].message
    assert rivals[loser].receive_some() == b""
    exit, = rivals[winner].serve(m.ledger)
    assert exit.redelivered
    m.finish(rivals[winner])
    for rival in rivals.values():
        rival.close()
