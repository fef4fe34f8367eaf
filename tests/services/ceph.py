"""A real S3 server for the tests: Ceph's object gateway from Debian's packages, on this machine's loopback alone.

    apt-get install --no-install-recommends radosgw ceph-mon ceph-osd ceph-common
    python tests/services/ceph.py start FOLDER     # prints what the tests want to know, as a shell's exports
    python tests/services/ceph.py stop FOLDER

A monitor, one OSD on a sparse file, and the gateway, over HTTP and TLS; about 20 seconds until it answers. No root is
needed. What is deleted is freed at once and not, as is usual, after two hours: repeated runs would fill the disk.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from services.certificate import write_certificate

PROGRAMS = ("radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "ceph", "ceph-authtool", "monmaptool")
KMS_KEY = "engines-key"
ACCESS_KEY, SECRET_KEY = "TRTREGTESTS", "no-secret-at-all"
_ENDINGS = ("rgw", "osd", "mon")
_SIZE = 48 << 30
_PATIENCE = 120.0

_CONFIGURATION = """
[global]
fsid = {fsid}
keyring = {folder}/keyring
mon host = v2:127.0.0.1:{mon_port}
ms bind msgr1 = false
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
mon data = {folder}/mon
mon data avail crit = 1
mon allow pool size one = true
osd data = {folder}/osd
osd objectstore = bluestore
osd memory target = 1073741824
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
bluestore block size = {size}
bluestore block create = true
run dir = {folder}/run
admin socket = {folder}/run/$name.asok
crash dir = {folder}/run
log file = {folder}/log/$name.log
rgw data = {folder}/rgw
rgw enable apis = s3
rgw thread pool size = 64
rgw run sync thread = false
rgw frontends = beast endpoint=127.0.0.1:{http_port} ssl_endpoint=127.0.0.1:{tls_port} \
ssl_certificate={folder}/tls/cert.pem ssl_private_key={folder}/tls/key.pem
rgw gc obj min wait = 0
rgw gc processor period = 5
rgw gc max concurrent io = 32
rgw crypt s3 kms backend = testing
rgw crypt s3 kms encryption keys = {kms_key}={kms_secret}
"""


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """Where a server is, by HTTP and by TLS, the file of its authority, and whom it knows.

    folder   where its configuration lies, for `radosgw-admin`; empty if that isn't known
    kms_key  the name of a key that it encrypts with for SSE-KMS; empty if there is none
    """

    http: str
    https: str = ""
    authority: str = ""
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    folder: str = ""
    kms_key: str = ""

    @property
    def environment(self) -> Mapping[str, str]:
        """For the tests of whoever has started it, and for the AWS tools."""
        return {
            "TRTREG_TEST_S3": self.http,
            "TRTREG_TEST_S3_TLS": self.https,
            "TRTREG_TEST_S3_CA": self.authority,
            "TRTREG_TEST_S3_FOLDER": self.folder,
            "TRTREG_TEST_S3_KMS": self.kms_key,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }


def missing() -> list[str]:
    """The programs that aren't installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def start(folder: Path) -> S3Server:
    """Start a new server in `folder`, which is emptied first; what is stored there goes with it."""
    stop(folder)
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("mon", "osd", "rgw", "run", "log", "tls"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o700)
    http_port, tls_port, mon_port = _free_ports(3)
    write_certificate(folder / "tls" / "cert.pem", folder / "tls" / "key.pem")
    fsid = str(uuid.uuid4())
    settings = _CONFIGURATION.format(
        fsid=fsid,
        folder=folder,
        size=_SIZE,
        http_port=http_port,
        tls_port=tls_port,
        mon_port=mon_port,
        kms_key=KMS_KEY,
        kms_secret=base64.b64encode(os.urandom(32)).decode(),
    )
    (folder / "ceph.conf").write_text(settings)
    server = S3Server(
        http=f"http://127.0.0.1:{http_port}",
        https=f"https://127.0.0.1:{tls_port}",
        authority=str(folder / "tls" / "cert.pem"),
        folder=str(folder),
        kms_key=KMS_KEY,
    )
    try:
        _start_monitor(folder, fsid, mon_port)
        _start_osd(folder)
        _start_gateway(folder, server)
    except BaseException:
        stop(folder)
        raise
    (folder / "server.json").write_text(json.dumps(asdict(server)))
    return server


def create_user(server: S3Server, name: str) -> tuple[str, str, str]:
    """A user who may do nothing yet, on a server whose folder is known: access key, secret key, ARN."""
    access, secret = f"AK{name.upper()}", os.urandom(12).hex()
    _call(*_admin(Path(server.folder)), "user", "create", f"--uid={name}", f"--display-name={name}",
          f"--access-key={access}", f"--secret-key={secret}")  # fmt: skip
    return access, secret, f"arn:aws:iam:::user/{name}"


def remove_user(server: S3Server, name: str) -> None:
    """Forget a user who owns nothing."""
    _call(*_admin(Path(server.folder)), "user", "rm", f"--uid={name}")


def stop(folder: Path) -> None:
    """End what runs in `folder`. Absence is no error."""
    for name in _ENDINGS:
        pidfile = folder / f"{name}.pid"
        with suppress(FileNotFoundError, ValueError):
            _end(int(pidfile.read_text()), folder)
        pidfile.unlink(missing_ok=True)


def _start_monitor(folder: Path, fsid: str, port: int) -> None:
    keyring, conf = folder / "keyring", folder / "ceph.conf"
    _call("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
    for name in ("client.admin", "osd.0", "client.rgw"):
        caps = [word for part in ("mon", "osd", "mgr") for word in ("--cap", part, "allow *")]
        _call("ceph-authtool", keyring, "--gen-key", "-n", name, *caps)
    monmap = folder / "monmap"
    _call("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{port}]", monmap)
    _call("ceph-mon", "-c", conf, "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
    _daemon(folder, "mon", "ceph-mon", "-c", conf, "-i", "a", "-f")
    _until(lambda: _answers("ceph", "-c", conf, "osd", "stat") is not None, "the monitor", folder)


def _start_osd(folder: Path) -> None:
    conf, name = folder / "ceph.conf", str(uuid.uuid4())
    _call("ceph", "-c", conf, "osd", "new", name)
    _call("ceph-osd", "-c", conf, "-i", "0", "--mkfs", "--osd-uuid", name)
    _daemon(folder, "osd", "ceph-osd", "-c", conf, "-i", "0", "-f")
    _until(lambda: "1 up" in (_answers("ceph", "-c", conf, "osd", "stat") or ""), "the OSD", folder)


def _start_gateway(folder: Path, server: S3Server) -> None:
    _daemon(folder, "rgw", "radosgw", *_as_gateway(folder), "-f")
    _until(lambda: _speaks_http(server.http), "the gateway", folder)
    keys = (f"--access-key={server.access_key}", f"--secret-key={server.secret_key}")
    _call(*_admin(folder), "user", "create", "--uid=tests", "--display-name=tests", *keys)


def _as_gateway(folder: Path) -> tuple[str | Path, ...]:
    return "-c", folder / "ceph.conf", "-n", "client.rgw", "-k", folder / "keyring"


def _admin(folder: Path) -> tuple[str | Path, ...]:
    return "radosgw-admin", *_as_gateway(folder)


def _daemon(folder: Path, name: str, *command: str | Path) -> None:
    # No Popen: the worker that starts a server may end before those that go on using it.
    log = os.open(folder / "log" / f"{name}.out", os.O_WRONLY | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    streams = [(os.POSIX_SPAWN_DUP2, source, sink) for source, sink in ((nothing, 0), (log, 1), (log, 2))]
    process = os.posix_spawnp(command[0], [*map(str, command)], os.environ, file_actions=streams, setsid=True)
    os.close(log)
    os.close(nothing)
    (folder / f"{name}.pid").write_text(str(process))


def _call(*command: str | Path) -> None:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=_PATIENCE, check=False)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(map(str, command))}: {done.stderr.strip()[-2000:]}")


def _answers(*command: str | Path) -> str | None:
    try:
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=10, check=False)
    except subprocess.TimeoutExpired:
        return None
    return None if done.returncode else done.stdout


def _speaks_http(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _until(ready: Callable[[], bool], what: str, folder: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not ready():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} doesn't answer; see {folder}/log")
        time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [s.getsockname()[1] for s in sockets]


def _end(process: int, folder: Path) -> None:
    """Its number may be another's by now: only what was started in `folder` is ended."""
    if str(folder) not in _command_line(process):
        return
    os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + 10
    while _is_running(process):
        if time.monotonic() > deadline:
            os.kill(process, signal.SIGKILL)
        time.sleep(0.05)


def _command_line(process: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_text()
    return ""


def _is_running(process: int) -> bool:
    with suppress(ChildProcessError):
        os.waitpid(process, os.WNOHANG)
    return bool(_command_line(process))


def main() -> None:
    match sys.argv[1:]:
        case ["start", folder]:
            for name, value in start(Path(folder).absolute()).environment.items():
                print(f"export {name}={shlex.quote(value)}")
        case ["stop", folder]:
            stop(Path(folder).absolute())
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
