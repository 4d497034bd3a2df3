#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A discrete-event simulation around a VM: a scheduler, two devices and a timer.

The guest asks a clock for the time, gives it to a disk as a command, and halts until it is
woken. The disk is done 7 us later, the timer ticks every 10 us, and either wakes the guest.
Events happen in the order of their simulated times, and with --clock none at the same ones
in every run:

    printf '\\344\\141\\346\\140\\364\\353\\371' >guest.bin
    kvmcpud --image guest.bin@0x1000 --entry 0x1000 --clock none --paused &
    python3 event_loop.py default 100
"""

import heapq
import sys
import threading

import kvmcpu
from kvmcpu.schema import control as messages

US = 10**6  # ticks, which are picoseconds


class Simulation:
    """The queue of events, and the one vCPU that runs between them."""

    def __init__(self, control):
        self.control = control
        self.now = control.status().vcpus[0].tick
        self._queue = []
        self._count = 0  # orders events of one time

    def at(self, tick, name, action):
        """Has action() happen at tick. Devices call this too, while the vCPU waits for them."""
        self._count += 1
        heapq.heappush(self._queue, (tick, self._count, name, action))

    def run(self, until):
        while self._queue and self._queue[0][0] <= until:
            tick = self._queue[0][0]
            if self.now < tick and not self._run_vcpu(tick):
                continue  # a device has put an event in front of that one
            tick, _, name, action = heapq.heappop(self._queue)
            print(f"{tick / US:9.3f} us  {name}")
            action()

    def _run_vcpu(self, tick):
        """Lets the vCPU come to tick. False if it has not: its run was ended before."""
        run, = self.control.run(tick - self.now, advance_to=self.now)
        if run.end == messages.RUN_END_STOPPED:
            sys.exit("the vCPU has stopped: kvmcpuctl status says why")
        halted = run.end == messages.RUN_END_HALT
        first = self._queue[0][0]
        self.now = max(run.tick, min(tick, first)) if halted else run.tick
        return self.now >= tick


class Clock(kvmcpu.Device):
    """A read of port 0x61 gives the simulated time in microseconds, and takes 0.5."""

    @kvmcpu.pio_read(0x61)
    def read(self, access):
        return access.tick // US & 0xFF, US // 2


class Disk(kvmcpu.Device):
    """A write to port 0x60 is a command; it takes 1 us to give, and 7 us more to do."""

    def __init__(self, simulation):
        self._simulation = simulation

    @kvmcpu.pio_write(0x60)
    def write(self, access):
        done = access.tick + 8 * US
        self._simulation.at(done, f"disk has done command {access.value}", self._wake)
        return kvmcpu.Reply(ticks=US, effects=[kvmcpu.end_run(0)])

    def _wake(self):
        self._simulation.control.effect(kvmcpu.wake(0))


def main():
    vm, until = sys.argv[1], int(sys.argv[2]) * US
    control = kvmcpu.Control(vm=vm)
    simulation = Simulation(control)
    server = kvmcpu.Server([Clock(), Disk(simulation)], vm=vm)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def tick():
        control.effect(kvmcpu.wake(0))
        simulation.at(simulation.now + 10 * US, "timer", tick)

    simulation.at(10 * US, "timer", tick)
    simulation.run(until)


if __name__ == "__main__":
    main()
