# SPDX-License-Identifier: MIT
"""The main job, once: a daemon, a device process, a monitor, one SeaBIOS.

The daemon starts paused, so the monitor is there before the first instruction. The guest's log
is what the device process prints. When SeaBIOS has found nothing to boot, the VM is stopped and
the monitor's own count of the exits is printed. Called by tools/demo, which sets up.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import kvmcpu

FIRMWARE = "/usr/share/seabios/bios.bin"
LAST_WORDS = b"No bootable device"
TIME_LIMIT = 120.0  # seconds; SeaBIOS takes 15 on a slow machine
EX_SOFTWARE, EX_UNAVAILABLE = 70, 69


class Failure(Exception):
    """The demo cannot go on; the text says why."""

    def __init__(self, text, status=EX_SOFTWARE):
        super().__init__(text)
        self.status = status


def start_ready(command, **options):
    """Starts a program that writes a newline to --ready-fd, and waits for that."""
    ours, theirs = os.pipe()
    process = subprocess.Popen(command + ["--ready-fd", str(theirs)], pass_fds=[theirs], **options)
    os.close(theirs)
    with os.fdopen(ours, "rb") as ready:
        if ready.read(1) != b"\n":
            raise Failure(f"{command[0]} ended with status {process.wait()} before it was ready")
    return process


def start_daemon(build, runtime_dir):
    """Starts kvmcpud and waits for its control socket by sd_notify's protocol or by trying."""
    process = subprocess.Popen(
        [f"{build}/kvmcpud", "--firmware", FIRMWARE, "--irqchip", "kernel", "--paused",
         "--runtime-dir", runtime_dir, "--log-level", "warn"], stdin=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return process, kvmcpu.Control(runtime_dir=runtime_dir)
        except kvmcpu.ConnectError:
            time.sleep(0.01)  # it is not there yet; the deadline bounds this
    if process.poll() is None:
        process.kill()
        raise Failure("kvmcpud did not open its socket within 10 seconds")
    raise Failure(f"kvmcpud ended with status {process.returncode}; its message is above",
                  process.returncode)


class GuestLog(threading.Thread):
    """Copies the device process's output as it comes, and notices the guest's last words."""

    def __init__(self, source, sink, on_last_words):
        super().__init__(daemon=True)
        self.source, self.sink, self.on_last_words = source, sink, on_last_words
        self.text = b""

    def run(self):
        told = False
        while chunk := self.source.read1(4096):
            self.sink.write(chunk)
            self.sink.flush()
            self.text += chunk
            if not told and LAST_WORDS in self.text:
                told = True
                self.on_last_words()

    def banner(self):
        lines = self.text.decode("ascii", "replace").splitlines()
        return next((line for line in lines if line.startswith("SeaBIOS")), "")


class Table:
    """Exits by kind and address, with how long the client took for each."""

    def __init__(self):
        self.rows = {}
        self.kinds = {}

    def add(self, record):
        exit_ = record.exit
        kind = exit_.WhichOneof("kind")
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        address = {"pio": lambda: f"0x{exit_.pio.port:x}",
                   "mmio": lambda: f"0x{exit_.mmio.address:x}"}.get(kind, lambda: "")()
        by = "client" if record.client_id else "nobody" if kind in ("pio", "mmio") else "kvmcpud"
        count_and_times = self.rows.setdefault((kind, address, by), [0, []])
        count_and_times[0] += 1
        if record.client_id:
            count_and_times[1].append(record.replied_after_ns - record.sent_after_ns)

    def total(self):
        return sum(self.kinds.values())

    def sorted_rows(self):
        for (kind, address, by), (count, times) in sorted(
                self.rows.items(), key=lambda row: -row[1][0]):
            yield {"kind": kind, "address": address, "answered_by": by, "count": count,
                   "share": count / self.total(),
                   "service_us_median": statistics.median(times) / 1000 if times else None}

    def print(self):
        print(f"\n{'kind':<12} {'port':>7} {'answered by':<12} {'count':>7} {'share':>7} "
              f"{'median service':>15}")
        for row in self.sorted_rows():
            median = row["service_us_median"]
            print(f"{row['kind']:<12} {row['address']:>7} {row['answered_by']:<12} "
                  f"{row['count']:>7} {row['share']:>6.1%} "
                  f"{'-' if median is None else f'{median:.1f} us':>15}")


def device_command(build, lang, runtime_dir):
    if lang == "c":
        return [f"{build}/kvmcpu-pc", "--runtime-dir", runtime_dir, "--debugcon", "-",
                "--serial", "none"]
    return [sys.executable, "-m", "kvmcpu.devices", "--runtime-dir", runtime_dir]


def watch(monitor, table, deadline):
    """Counts exits until the VM ends."""
    try:
        for event in monitor:
            if event.WhichOneof("what") == "exit":
                table.add(event.exit)
    except kvmcpu.Timeout:
        raise Failure(f"no exit for {monitor_idle(deadline):.0f} seconds; the guest hangs") from None


def monitor_idle(deadline):
    return TIME_LIMIT - max(0.0, deadline - time.monotonic())


def run(build, lang, quiet):
    """One boot. Returns (banner, table, events lost, seconds)."""
    processes = []
    sink = sys.stderr.buffer if quiet else sys.stdout.buffer
    with tempfile.TemporaryDirectory(prefix="kvmcpud-demo-") as runtime_dir:
        try:
            daemon, control = start_daemon(build, runtime_dir)
            processes.append(daemon)
            monitor = kvmcpu.Monitor(runtime_dir=runtime_dir, states=False, timeout=TIME_LIMIT)
            devices = start_ready(device_command(build, lang, runtime_dir),
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            processes.append(devices)
            log = GuestLog(devices.stdout, sink, lambda: control.stop(reason="demo: done"))
            log.start()
            began = time.monotonic()
            control.resume()
            table = Table()
            watch(monitor, table, began + TIME_LIMIT)
            seconds = time.monotonic() - began
            for process in reversed(processes):
                process.wait(10)
            log.join(10)
            if LAST_WORDS not in log.text:
                raise Failure("the VM ended before SeaBIOS had looked for something to boot")
            return log.banner(), table, monitor.lost_total, seconds
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                process.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--lang", default="python")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that finally clauses run
    if not os.path.exists(FIRMWARE):
        raise Failure(f"{FIRMWARE} is missing: install the package seabios", EX_UNAVAILABLE)
    banner, table, lost, seconds = run(options.build, options.lang, options.json)
    if options.json:
        print(json.dumps({"banner": banner, "devices": options.lang, "exits": table.total(),
                          "exits_by_kind": table.kinds, "rows": list(table.sorted_rows()),
                          "events_lost": lost, "wall_seconds": round(seconds, 3)}))
        return
    table.print()
    print(f"\n{banner}: {table.total()} exits in {seconds:.1f} s, answered by a {options.lang} "
          f"process; {lost} events lost")


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        print(f"tools/demo: {failure}", file=sys.stderr)
        sys.exit(failure.status)
    except kvmcpu.Error as error:
        print(f"tools/demo: {error}", file=sys.stderr)
        sys.exit(EX_SOFTWARE)
    except KeyboardInterrupt:
        sys.exit(130)
