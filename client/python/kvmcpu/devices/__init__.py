# SPDX-License-Identifier: MIT
"""Ready devices of a small PC, each an example of how a device is written.

`python3 -m kvmcpu.devices` serves them all.
"""

from .cmos import Cmos
from .debugcon import Debugcon
from .i8042 import I8042
from .port92 import Port92
from .post import Post
from .power import Power
from .serial import Serial

__all__ = ["Cmos", "Debugcon", "I8042", "Port92", "Post", "Power", "Serial"]
