# SPDX-License-Identifier: MIT
"""The Python counterpart of client.c: CPU EXITS RUNTIME-DIR VM pio|mmio ADDRESS.

A device as the kvmcpu package's users write it. The moment at which an exit
left the guest is taken from the message after the reply has gone, since an
Access does not carry it.
"""

import array
import os
import sys

import kvmcpu


def device_at(space, address):
    """A Device that answers reads of address with 0 and drops writes."""
    read = kvmcpu.mmio_read if space == "mmio" else kvmcpu.pio_read
    write = kvmcpu.mmio_write if space == "mmio" else kvmcpu.pio_write

    class Zero(kvmcpu.Device):
        @read(address)
        def answer(self, access):
            return 0

        @write(address)
        def take(self, access):
            return None

    return Zero()


def main():
    cpu, exits, runtime_dir, vm, space, address = sys.argv[1:]
    os.sched_setaffinity(0, {int(cpu)})
    wanted = int(exits)
    stamps = array.array("Q")
    last = 0
    with kvmcpu.Server([device_at(space, int(address, 0))], vm, runtime_dir) as server:
        exit = server._exit
        while len(stamps) < wanted:
            if not server.serve_one():
                sys.exit("the VM has ended")
            if exit.seq != last + 1:
                stamps.append(0)
            last = exit.seq
            stamps.append(exit.left_ns)
    stamps.tofile(sys.stdout.buffer)


if __name__ == "__main__":
    main()
