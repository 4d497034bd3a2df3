# SPDX-License-Identifier: MIT
"""Archives as the kernel takes them for its first root file system: the "newc"
format of its early-userspace documentation.
"""

import stat

DIRECTORY, PROGRAM, FILE = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755, stat.S_IFREG | 0o644
LINK, CHARACTER_DEVICE = stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o600


def _entry(name, mode, data, device=(0, 0)):
    name = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def archive(entries):
    """entries: (path without the first slash, mode, bytes), and behind these (major,
    minor) for a device. A link's bytes are its target. Directories come before what
    is in them; of two entries for one path the later counts."""
    return b"".join([*(_entry(*entry) for entry in entries), _entry("TRAILER!!!", 0, b"")])
