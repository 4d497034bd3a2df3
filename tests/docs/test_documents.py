# SPDX-License-Identifier: MIT
"""The documents say what the programs do.

README's device and the commands beside it run against a real daemon; options,
commands, statuses and limits in the man pages are those of the sources; every
file and function that ARCHITECTURE.md names exists; the bytes in
kvmcpud-protocol(7) are what a daemon says on its socket.
"""

import fnmatch
import os
import pathlib
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("KVMCPUD_BUILD") or ROOT / "build")
DEADLINE = 15.0  # seconds, of every wait
MAN_PAGES = sorted(path for part in ("daemon", "client") for path in (ROOT / part).rglob("*.[1-8]"))

for place in (ROOT / "client" / "python", BUILD / "client" / "python"):
    if str(place) not in sys.path:
        sys.path.append(str(place))

kvmcpu = pytest.importorskip("kvmcpu", reason="the Python schema is not built: run make")
from kvmcpu import schema  # noqa: E402  (needs the path)
from kvmcpu.framing import frame  # noqa: E402


def text(name):
    return (ROOT / name).read_text()


def plain(source):
    """mdoc without its fonts' and spaces' escapes."""
    return source.replace("\\-", "-").replace("\\&", "").replace("\\e", "\\")


def options_of(page):
    """The long options that a page explains as items of a list."""
    return set(re.findall(r"^\.It Fl -([a-z-]+)", plain(text(page)), re.M))


def run(program, *words, **more):
    if not (BUILD / program).exists():
        pytest.fail(f"{BUILD / program} is missing: run make, or name the build in KVMCPUD_BUILD")
    return subprocess.run([str(BUILD / program), *words], capture_output=True, text=True,
                          timeout=DEADLINE, **more)


# ---- programs and their pages


def test_options():
    listed = set(re.findall(r"^  --([a-z-]+)", run("kvmcpud", "--help").stdout, re.M))
    assert "memory" in listed
    assert options_of("daemon/kvmcpud.8") == listed
    synopsis = text("daemon/kvmcpud.8").split(".Sh DESCRIPTION")[0]
    assert set(re.findall(r"Fl -([a-z-]+)", synopsis)) == listed


def test_commands():
    listed = set(re.findall(r"^  ([a-z]+) +[A-Z]", run("kvmcpuctl", "--help").stdout, re.M))
    page = text("client/ctl/kvmcpuctl.1").split(".Sh COMMANDS")[1].split(".Sh EXIT STATUS")[0]
    explained = {word.split()[0] for word in re.findall(r"^\.It Cm ([a-z ]+)", page, re.M)}
    assert listed and explained == listed


@pytest.mark.parametrize("command", ["pause", "stop", "monitor", "dump", "memory", "schema"])
def test_options_of_commands(command):
    said = run("kvmcpuctl", command, "--help").stdout.split("Options of every command")[0]
    own = set(re.findall(r"--([a-z-]+)", said)) - {"count", "output"}  # known by -n and -o
    page = text("client/ctl/kvmcpuctl.1").split(".Sh COMMANDS")[1]
    entries = re.findall(rf"^\.It Cm {command}\b.*?(?=^\.It Cm |^\.El)", page, re.M | re.S)
    assert own <= set(re.findall(r"Fl -([a-z-]+)", "".join(entries)))


def statuses(header, page):
    """Numbers of an enum in a header, and those that a page's EXIT STATUS explains."""
    declared = {int(n) for n in re.findall(r"^\s+[A-Z_]+ = (\d+),", text(header), re.M)}
    section = text(page).split("\n.Sh EXIT STATUS")[1].split("\n.Sh ")[0]
    return declared, {int(n) for n in re.findall(r"^\.It (\d+)", section, re.M)}


@pytest.mark.parametrize("header, page", [("daemon/status.h", "daemon/kvmcpud.8"),
                                          ("client/ctl/ctl.h", "client/ctl/kvmcpuctl.1")])
def test_statuses(header, page):
    declared, explained = statuses(header, page)
    assert declared and declared == explained


def test_restart_statuses():
    unit = text("systemd/kvmcpud@.service.in")
    kept = re.search(r"^RestartPreventExitStatus=(.*)$", unit, re.M).group(1).split()
    said = re.search(r"not after statuses (.*)\.", text("daemon/kvmcpud.8")).group(1)
    assert re.findall(r"\d+", said) == kept


def test_limits():
    """The numbers of kvmcpud-protocol(7) are the sources'."""
    sources = "".join(text(f"{name}") for name in
                      ("common/types.h", "daemon/claim.c", "daemon/loop.h", "daemon/session.c"))
    page = text("daemon/kvmcpud-protocol.7").split(".Sh LIMITS")[1].split(".El")[0]
    said = dict(re.findall(r'^\.It (.+?) Ta "(.+)"$', page, re.M))

    def define(name):
        value = re.search(rf"^#define {name} (.+?)\s*(?:/\*.*)?$", sources, re.M).group(1)
        return eval(value.replace("1u <<", "1 <<").replace("8u <<", "8 <<"))  # our own source

    names = {"first frame on any socket": ("KVMCPU_HELLO_FRAME_MAX", 1 << 20),
             "later frames, device.sock": ("KVMCPU_DEVICE_FRAME_MAX", 1),
             "later frames, the others": ("KVMCPU_CONTROL_FRAME_MAX", 1 << 20),
             "claims of one client": ("KVMCPU_MAX_CLAIMS", 1),
             "claims of all clients": ("MAX_CLAIMS", 1),
             "effects of one reply": ("KVMCPU_MAX_EFFECTS", 1),
             "bytes of a memory effect": ("KVMCPU_MAX_EFFECT_DATA", 1),
             "bytes of a memory request": ("KVMCPU_MAX_MEMORY_CALL", 1),
             "entries of a filter's list": ("KVMCPU_MAX_FILTER", 1),
             "bytes of a name": ("KVMCPU_MAX_NAME", 1),
             "bytes of a stop reason": ("KVMCPU_MAX_REASON", 1),
             "unsent bytes for one client": ("QUEUE_QUOTA", 1 << 20),
             "connections": ("LOOP_MAX_SESSIONS", 1)}
    assert set(names) | {"code of a stop"} == set(said)
    for what, (name, unit) in names.items():
        assert int(said[what].split()[0]) * unit == define(name), what


# ---- form


@pytest.mark.parametrize("page", MAN_PAGES, ids=lambda path: path.name)
def test_pages_render(page):
    if not shutil.which("groff"):
        pytest.skip("groff is missing: install groff")
    done = subprocess.run(["groff", "-mandoc", "-ww", "-Tutf8", "-z", str(page)],
                          capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_references():
    """Pages of ours that a page refers to exist."""
    ours = {path.name for path in MAN_PAGES}
    for page in MAN_PAGES:
        for name, section in re.findall(r"^\.Xr (\S*kvmcpu\S*) (\d)", page.read_text(), re.M):
            assert f"{name}.{section}" in ours, page.name


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md"])
def test_width(name):
    wide = [line for line in text(name).splitlines() if len(line) > 100 and line[0] != "|"]
    assert not wide


# ---- what ARCHITECTURE.md and README.md name


def code_spans(name):
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text(name), flags=re.S))


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md"])
def test_files_exist(name):
    tops = {path.name for path in ROOT.iterdir()} - {"build"}
    named = {span.split()[0] for span in code_spans(name) if span.split("/")[0] in tops}
    assert len(named) > 3
    missing = [path for path in named if not any(ROOT.glob(path.rstrip("/")))]
    assert not missing


def test_functions_exist():
    named = {span[:-2] for span in code_spans("ARCHITECTURE.md") if re.fullmatch(r"\w+\(\)", span)}
    sources = "".join(path.read_text() for part in ("daemon", "common")
                      for path in (ROOT / part).rglob("*.c"))
    missing = [name for name in named if not re.search(rf"^\w[^;\n]*\b{name}\(", sources, re.M)]
    assert len(named) > 15 and not missing


def test_every_daemon_file_is_named():
    """Each module of daemon and common is named: its file, a pattern, or its own directory."""
    named = set(code_spans("ARCHITECTURE.md"))
    for part in ("daemon", "common"):
        for path in (ROOT / part).rglob("*.c"):
            path = path.relative_to(ROOT)
            assert any(fnmatch.fnmatch(str(path), span) or span == f"{path.parent}/"
                       for span in named), path


def including(pattern):
    """Files of daemon, common and client that have an #include of that."""
    return {str(path.relative_to(ROOT)) for part in ("daemon", "common", "client")
            for path in (ROOT / part).rglob("*.[ch]")
            if re.search(rf'^#include [<"]{pattern}', path.read_text(), re.M)}


def test_who_knows_what():
    """The rules about libevent, KVM and protobuf-c hold."""
    loop = {f"daemon/{name}.c" for name in
            ("loop", "listener", "session", "device", "monitor", "control")}
    assert including("event2/") <= loop
    kvm = {f"daemon/{name}.c" for name in ("vcpu", "run", "vm", "memory", "exit_decode", "interrupt",
                                               "irq")}
    assert all(path in kvm or path.startswith("daemon/x86/") for path in including("linux/kvm.h"))
    packers = including(r"(protobuf-c/|kvmcpud/v1/|codec_internal\.h)")
    assert all(re.match(r"common/(codec_\w+|json)\.[ch]$", path) for path in packers)
    assert not [path for path in including("(vcpu|vm|loop|channel|claim)\\.h")
                if not path.startswith("daemon/")]


def test_no_machine():
    """Nothing of the machine where they were written stands in the documents."""
    for path in [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *MAN_PAGES]:
        assert not re.search(r"/(work|home|root|tmp)/", path.read_text()), path.name


# ---- with a real daemon


def why_no_kvm():
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"/dev/kvm: {error.strerror}"
    return None


needs_kvm = pytest.mark.skipif(why_no_kvm() is not None, reason=str(why_no_kvm()))


class Place:
    """A directory in which the documents' commands run, and what they leave running."""

    def __init__(self, directory):
        self.path = pathlib.Path(directory)
        self.children = []
        self.environment = dict(
            os.environ, XDG_RUNTIME_DIR=directory, PATH=f"{BUILD}:{os.environ['PATH']}",
            PYTHONPATH=os.pathsep.join(path for path in sys.path if path))
        self.environment.pop("NOTIFY_SOCKET", None)

    def start(self, *words):
        words = [sys.executable if word == "python3" else word for word in words]
        name = f"{len(self.children)}.out"
        child = subprocess.Popen(words, cwd=self.path, env=self.environment,
                                 stdin=subprocess.DEVNULL, stdout=open(self.path / name, "wb"),
                                 stderr=subprocess.STDOUT)
        child.output = self.path / name
        self.children.append(child)
        return child

    def call(self, command):
        return subprocess.run(command, shell=True, cwd=self.path, env=self.environment, text=True,
                              capture_output=True, timeout=DEADLINE)

    def until(self, what, predicate):
        deadline = time.monotonic() + DEADLINE
        while not predicate():
            said = "".join(child.output.read_text() for child in self.children)
            assert time.monotonic() < deadline, f"not in time: {what}\n{said}"
            time.sleep(0.01)  # asked again; the deadline bounds it

    def listening(self, vm):
        def try_it():
            with socket.socket(socket.AF_UNIX) as probe:
                return probe.connect_ex(str(self.path / "kvmcpud" / vm / "control.sock")) == 0

        self.until(f"VM {vm} listens", try_it)

    def control(self, vm):
        return kvmcpu.Control(vm=vm, runtime_dir=str(self.path / "kvmcpud"), timeout=DEADLINE)

    def end(self):
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()


@pytest.fixture
def place():
    with tempfile.TemporaryDirectory(prefix="kvd-") as directory:
        made = Place(directory)
        yield made
        made.end()


def blocks(name, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text(name), re.M | re.S)


def shown(name, start):
    """The indented commands of a document that begin so, without prompt and remark."""
    lines = re.findall(r"^ {4}\$ (.*)$", text(name), re.M)
    return [line.split("  #")[0].strip() for line in lines if line.startswith(start)]


@needs_kvm
def test_readme_device(place):
    device, monitor = blocks("README.md", "python")[:2]
    assert len(device.strip().splitlines()) <= 15
    (place.path / "greeter.py").write_text(device)
    (place.path / "watch.py").write_text(monitor)
    image, daemon, serve, resume = blocks("README.md", "sh")[0].strip().splitlines()

    assert place.call(image).returncode == 0
    vm = place.start(*shlex.split(daemon.removesuffix(" &")))
    place.listening("hello")
    greeter = place.start(*shlex.split(serve.removesuffix(" &")))
    watch = place.start("python3", "watch.py")
    with place.control("hello") as control:
        place.until("both are there", lambda: len(control.clients().clients) == 3)
        assert place.call(resume).returncode == 0
        place.until("the guest halts",
                    lambda: control.status().vcpus[0].state == schema.event.VCPU_STATE_IDLE)
        assert control.status().vcpus[0].tick == 7000
        assert control.stats().vcpus[0].num_io == 55
    assert greeter.output.read_text() == "hello from another process\n"

    said = {line: place.call(line) for line in shown("README.md", "kvmcpuctl ")
            if " monitor " not in line and " stop " not in line}
    assert len(said) >= 5
    assert [line for line, done in said.items() if done.returncode] == []
    memory = next(done.stdout for line, done in said.items() if "memory" in line)
    assert memory in text("README.md").replace("    0000000000001000", "0000000000001000")

    stop = shown("README.md", "kvmcpuctl stop")[0]
    assert place.call(stop).returncode == 0
    assert vm.wait(DEADLINE) == 7
    assert greeter.wait(DEADLINE) == 0
    assert watch.wait(DEADLINE) == 0
    assert len(re.findall(" pio ", watch.output.read_text())) == 55


@needs_kvm
def test_readme_hypercall(place):
    device = next(block for block in blocks("README.md", "python") if "hypercall" in block)
    commands = next(block for block in blocks("README.md", "sh") if "adder" in block)
    image, daemon, serve, resume, dump = commands.strip().splitlines()
    (place.path / "adder.py").write_text(device)
    assert place.call(image).returncode == 0
    place.start(*shlex.split(daemon.removesuffix(" &")))
    place.listening("adder")
    place.start(*shlex.split(serve.removesuffix(" &")))
    with place.control("adder") as control:
        place.until("it claims", lambda: len(control.clients().claims) == 1)
        assert place.call(resume).returncode == 0
        place.until("the guest halts",
                    lambda: control.status().vcpus[0].state == schema.event.VCPU_STATE_IDLE)
        assert control.stats().vcpus[0].ticks_charged == 250
        assert re.search(r"\brax\W+(0x)?0*2a\b", place.call(dump).stdout)
        control.stop()


@needs_kvm
def test_readme_death(place):
    """The client dies with an exit in flight; the next gets the same one, marked."""
    (place.path / "greeter.py").write_text(blocks("README.md", "python")[0])
    image, daemon, serve, _ = blocks("README.md", "sh")[0].strip().splitlines()
    place.call(image)
    place.start(*shlex.split(daemon.removesuffix(" &")))
    place.listening("hello")
    with place.control("hello") as control:
        first = place.start(*shlex.split(serve.removesuffix(" &")))
        place.until("it claims", lambda: len(control.clients().claims) == 2)
        first.send_signal(signal.SIGSTOP)
        control.resume()
        place.until("it is asked", lambda: control.status().vcpus[0].wait.cause)
        first.kill()
        place.until("it is missed", lambda: control.status().vcpus[0].wait.cause ==
                    schema.control.WAIT_CAUSE_ABSENT)
        assert "somebody to claim pio read 0x50" in place.call("kvmcpuctl status --vm hello").stdout
        second = place.start(*shlex.split(serve.removesuffix(" &")))
        place.until("the guest halts",
                    lambda: control.status().vcpus[0].state == schema.event.VCPU_STATE_IDLE)
        assert control.stats().vcpus[0].num_redelivered == 1
        control.stop()
    second.wait(DEADLINE)
    assert second.output.read_text() == "hello from another process\n"


@needs_kvm
def test_page_configuration(place):
    """kvmcpud(8)'s INI file, with the registers that the page promises."""
    page = plain(text("daemon/kvmcpud.8"))
    lines = page.split(".Sh CONFIGURATION FILE")[1].split(".Bd -literal -offset indent\n")[1]
    (place.path / "vm.conf").write_text(lines.split(".Ed")[0])
    (place.path / "hello.bin").write_bytes(b"\xf4")
    assert "kvmcpud --config vm.conf --cpus 8 --log-level debug" in page
    vm = place.start("kvmcpud", "--config", "vm.conf", "--cpus", "8", "--log-level", "debug")
    place.listening("default")
    with place.control("default") as control:
        dump = control.dump(3)
        values = {register.name: register.value for group in dump.groups
                  for register in group.registers}
        assert (values["rip"], values["rdi"], values["rsi"]) == (0x8000, 3, 8)
        assert (values["rflags"], values["cr3"], values["gdt.base"]) == (2, 0x2000, 0x1000)
        assert (values["cs.selector"], values["ss.selector"], values["cs.l"]) == (8, 16, 1)
        assert values["cr4"] & 0x20 and values["efer"] & 0x500 == 0x500 and values["cr0"] >> 31
        directory = place.path / "kvmcpud" / "default"
        assert directory.stat().st_mode & 0o777 == 0o711
        for role in ("device", "monitor", "control"):
            assert (directory / f"{role}.sock").stat().st_mode & 0o177 == 0
    vm.terminate()
    assert vm.wait(DEADLINE) == 0
    assert not directory.exists()


@needs_kvm
def test_page_strict(place):
    examples = plain(text("daemon/kvmcpud.8")).split(".Sh EXAMPLES")[1]
    commands = [line[2:] for line in examples.splitlines() if line.startswith("$ ")]
    image = next(line for line in commands if line.startswith("printf"))
    strict = next(line for line in commands if "--strict" in line)
    done = place.call(f"{image} && {strict}")
    assert done.stdout == "79\n"
    assert "strict: nobody claims pio 0x80" in done.stderr


@needs_kvm
def test_page_firmware(place):
    """kvmcpud(8)'s and kvmcpu-pc(1)'s first example, up to the firmware's first words."""
    page = plain(text("daemon/kvmcpud.8")).split(".Sh EXAMPLES")[1]
    daemon, rest = [line[2:] for line in page.splitlines() if line.startswith("$ ")][:2]
    if not pathlib.Path("/usr/share/seabios/bios.bin").exists():
        pytest.skip("/usr/share/seabios/bios.bin is missing: install seabios")
    vm = place.start(*shlex.split(daemon.removesuffix(" &")))
    place.listening("default")
    devices, resume = rest.split(" & ")
    pc = place.start(devices)
    with place.control("default") as control:
        place.until("the devices claim", lambda: control.clients().claims)
        assert place.call(resume).returncode == 0
        place.until("SeaBIOS speaks", lambda: "RamSize: 0x04000000" in pc.output.read_text())
        control.stop()
    assert vm.wait(DEADLINE) == 0
    assert pc.wait(DEADLINE) == 0


# ---- kvmcpud-protocol(7)'s bytes


def frames_of_page():
    """[(message's name, its frame's bytes)] of the worked example."""
    found = []
    for line in text("daemon/kvmcpud-protocol.7").split(".Sh EXAMPLES")[1].splitlines():
        match = re.fullmatch(r"([A-Za-z]+ +| {11})((?:[0-9a-f]{2} ?)+)", line)
        if not match:
            continue
        name, data = match.group(1).strip(), bytes.fromhex(match.group(2))
        if name:
            found.append([name, data])
        else:
            found[-1][1] += data
    return found


MESSAGES = {"Hello": schema.hello.Hello, "HelloReply": schema.hello.HelloReply,
            "Exit": schema.exit_.Exit, "ExitReply": schema.exit_.ExitReply}


def parse(name, data):
    assert data[0] == len(data) - 1, "the frame's length"
    message = MESSAGES[name]()
    message.ParseFromString(data[1:])
    return message


def test_page_bytes():
    """Each frame decodes, and encodes to the same bytes."""
    frames = frames_of_page()
    assert [name for name, _ in frames] == ["Hello", "HelloReply", "Exit", "ExitReply", "Exit",
                                            "ExitReply", "Exit"]
    for name, data in frames:
        assert frame(parse(name, data).SerializeToString()) == data, name
    hello, _, read, answer, write, _, notice = (parse(*pair) for pair in frames)
    assert (hello.client, len(hello.device.claims), hello.device.claims[0].last) == ("d", 1, 0x51)
    assert (read.pio.port, answer.data, answer.ticks) == (0x50, b"h", 250)
    assert (write.pio.port, write.pio.data, write.tick) == (0x51, b"h", 250)
    assert notice.notice.message == "the VM has stopped"


def receive(sock, size):
    data = b""
    while len(data) < size:
        assert select.select([sock], [], [], DEADLINE)[0], "nothing came"
        more = sock.recv(size - len(data))
        assert more, "the daemon closed the connection"
        data += more
    return data


@needs_kvm
def test_page_exchange(place):
    """A daemon, spoken to with nothing but the page's bytes, says the page's bytes."""
    hello, welcome, *exchange, notice = frames_of_page()
    (place.path / "guest.bin").write_bytes(bytes.fromhex("e450 e651 f4"))
    vm = place.start("kvmcpud", "--name", "vm", "--memory", "64M", "--image", "guest.bin@0x1000",
                     "--entry", "0x1000", "--clock", "none", "--paused")
    place.listening("vm")
    version = re.search(r"^kvmcpud (\S+)", run("kvmcpud", "--version").stdout).group(1)
    with socket.socket(socket.AF_UNIX) as sock, place.control("vm") as control:
        sock.connect(str(place.path / "kvmcpud" / "vm" / "device.sock"))
        sock.sendall(hello[1])
        reply = parse("HelloReply", (lambda n: n + receive(sock, n[0]))(receive(sock, 1)))
        wanted = parse(*welcome)
        wanted.daemon_version, wanted.client_id = version, reply.client_id
        assert reply.vm.instance != 0
        wanted.vm.instance = reply.vm.instance  # drawn anew at each start
        assert reply == wanted
        control.resume()
        for name, data in exchange:
            if name == "ExitReply":
                sock.sendall(data)
                continue
            size = receive(sock, 1)
            came, wanted = parse(name, size + receive(sock, size[0])), parse(name, data)
            came.left_ns = wanted.left_ns
            assert came == wanted
        place.until("the guest halts",
                    lambda: control.status().vcpus[0].state == schema.event.VCPU_STATE_IDLE)
        vm.terminate()
        assert receive(sock, len(notice[1])) == notice[1]
        assert sock.recv(1) == b""
    assert vm.wait(DEADLINE) == 0
