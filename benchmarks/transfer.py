"""A blob from and to a bucket: trtreg, which verifies, beside plain clients that don't, in turns, on one server.

    python benchmarks/transfer.py [--mib 1024] [--rounds 3]

Starts a Ceph gateway (see tests/services) unless TRTREG_TEST_S3 names a server. Every transfer is a process of its own,
so that its peak memory is its own; only the transfer is timed, not the imports. The figure is the median. The server
takes more of the processor than any client: on a machine that others use, the times say little, the CPU seconds more.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import described

# For tests/services, which starts the server.
sys.path.append(str(Path(__file__).parents[1] / "tests"))

BUCKET = "trtreg-benchmark"

DOWNLOADS = {
    "trtreg": "store().fetch_blob(file(), back, SILENT)",
    "trtreg, 4 ranges": "store('&near=0&ranges=4').fetch_blob(file(), back, SILENT)",
    "curl to a file": "curl()",
    "boto3 download_file, as it is": "client().download_file(BUCKET, key, str(back))",
    "boto3 download_file, tuned": "client().download_file(BUCKET, key, str(back), Config=tuned())",
    "4 ranged readers": "ranged()",
}
UPLOADS = {
    "trtreg": "store().put_blob(source, file(), SILENT)",
    "boto3 upload_file, as it is": "client().upload_file(str(source), BUCKET, 'up')",
    "boto3 upload_file, tuned": "client().upload_file(str(source), BUCKET, 'up', Config=tuned())",
    "trtreg, body not signed": "store('&sign_payload=0').put_blob(source, file(), SILENT)",
    "boto3 upload_file, tuned, body not signed": "client(False).upload_file(str(source), BUCKET, 'up', Config=tuned())",
}

ONE = """
import json, os, resource, subprocess, sys, time
from pathlib import Path
import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from concurrent.futures import ThreadPoolExecutor
from trtreg.core.files import StoredFile
from trtreg.silence import SILENT
from trtreg.storage.s3 import S3Store
from trtreg.storage.s3_place import parse_bucket
import trtreg.storage.s3_download, trtreg.storage.s3_upload
BUCKET, endpoint, sha256, size, folder, what = sys.argv[1:]
size, folder = int(size), Path(folder)
source, back, key = folder / "source", folder / "back", f"store/blobs/{sha256[:2]}/{sha256}"

def file():
    return StoredFile("plan", size, sha256)

def store(more=""):
    made = S3Store(parse_bucket(f"s3://{BUCKET}/store?endpoint_url={endpoint}{more}"), partials=folder / "partial")
    return made

def client(signed=None):
    s3 = {"addressing_style": "path"} | ({} if signed is None else {"payload_signing_enabled": signed})
    config = Config(s3=s3, request_checksum_calculation="when_required", response_checksum_validation="when_required")
    return boto3.session.Session().client("s3", endpoint_url=endpoint, config=config)

def tuned():
    return TransferConfig(max_concurrency=4, multipart_chunksize=CHUNK, io_chunksize=1 << 20,
                          preferred_transfer_client="classic")

CHUNK = (64 << 20) if "download" in what else (16 << 20)

def curl():
    url = client().generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key})
    subprocess.run(["curl", "-fsS", "-o", back, url], check=True)

def ranged():
    s3, part = client(), 16 << 20
    descriptor = os.open(back, os.O_WRONLY | os.O_CREAT)
    def one(begin):
        end = min(begin + part, size)
        body, at = s3.get_object(Bucket=BUCKET, Key=key, Range=f"bytes={begin}-{end - 1}")["Body"], begin
        while piece := body.read(1 << 20):
            os.pwrite(descriptor, piece, at)
            at += len(piece)
    with ThreadPoolExecutor(4) as readers:
        list(readers.map(one, range(0, size, part)))
    os.close(descriptor)

client()
began, spent = time.perf_counter(), sum(os.times()[:4])
eval(what)
seconds, spent = time.perf_counter() - began, sum(os.times()[:4]) - spent
usage = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps({"seconds": seconds, "cpu": spent, "rss": usage / 1024}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="Where the files go; a temporary one unless given.")
    given = parser.parse_args()
    from services import ceph
    from services.ceph import S3Server

    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        endpoint = os.environ.get("TRTREG_TEST_S3", "")
        server = S3Server(http=endpoint) if endpoint else ceph.start(folder / "ceph")
        if not endpoint:
            os.environ.update(server.environment)
        try:
            measure(server.http, folder, given.mib << 20, given.rounds)
        finally:
            if not endpoint:
                ceph.stop(folder / "ceph")


def measure(endpoint: str, folder: Path, size: int, rounds: int) -> None:
    import boto3

    client = boto3.session.Session().client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket=BUCKET)
    sha256 = write_random(folder / "source", size)

    def once(what: str) -> dict[str, float]:
        command = [sys.executable, "-c", ONE, BUCKET, endpoint, sha256, str(size), str(folder), what]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return json.loads(done.stdout)

    print(described(("trtreg", "boto3", "botocore", "s3transfer")))
    print(f"{size >> 20} MiB, median of {rounds}, {endpoint}, {ceph_version()}\n")
    key = f"store/blobs/{sha256[:2]}/{sha256}"

    def remove() -> None:
        client.delete_object(Bucket=BUCKET, Key=key)
        client.delete_object(Bucket=BUCKET, Key="up")

    once(UPLOADS["trtreg"])
    in_turns("download", DOWNLOADS, once, rounds, lambda: (folder / "back").unlink(missing_ok=True))
    in_turns("upload", UPLOADS, once, rounds, remove)
    remove()
    client.delete_bucket(Bucket=BUCKET)


def in_turns(title, ways, once, rounds, clear) -> None:
    found = {name: [] for name in ways}
    for turn in range(rounds):
        # Each round begins with another one: what the one before has left to be written slows the next.
        names = [*ways][turn % len(ways) :] + [*ways][: turn % len(ways)]
        for name in names:
            clear()
            found[name].append(once(ways[name]))
    clear()
    print(f"{title:44}{'s':>8}{'CPU s':>8}{'peak MiB':>10}{'trtreg against it':>20}")
    median = {name: statistics.median(run["seconds"] for run in runs) for name, runs in found.items()}
    for name, runs in found.items():
        cpu = statistics.median(run["cpu"] for run in runs)
        rss = max(run["rss"] for run in runs)
        ours = median["trtreg, body not signed" if "not signed" in name else "trtreg"]
        print(f"{name:44}{median[name]:8.2f}{cpu:8.2f}{rss:10.0f}{median[name] / ours:20.2f}")
    print()


def write_random(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size >> 20):
            piece = os.urandom(1 << 20)
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def ceph_version() -> str:
    if shutil.which("radosgw") is None:
        return "server unknown"
    return subprocess.run(["radosgw", "--version"], capture_output=True, text=True, check=False).stdout.strip()[:24]


if __name__ == "__main__":
    main()
