"""Which requests a `get` makes to a bucket: counted where botocore sends them.

    python benchmarks/bucket_requests.py

The server is TRTREG_TEST_S3 with AWS's variables; a bucket is made and removed. Each `get` is one of a new process's:
nothing is known but what the cache folder keeps. With signatures, as a team has them.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import machine
from botocore.httpsession import URLLib3Session
from click.testing import CliRunner

import trtreg_cli.main as command
from trtreg.onnx_models.synthesis import write_yolov5

SERVER = os.environ["TRTREG_TEST_S3"]
_sent: list[str] = []
_bytes = 0


def _counting() -> None:
    send = URLLib3Session.send

    def counted(self: Any, request: Any) -> Any:
        global _bytes
        path = urlsplit(request.url).path.split("/")
        listing = request.method == "GET" and "list-type" in request.url
        answer = send(self, request)
        _bytes += int(answer.headers.get("content-length") or 0) if request.method == "GET" else 0
        _sent.append(f"{'LIST' if listing else request.method} {path[3] if len(path) > 3 else ''}".strip())
        return answer

    URLLib3Session.send = counted  # type: ignore[method-assign]


def call(told: str, home: str, *words: str) -> None:
    global _bytes
    _sent.clear()
    _bytes = 0
    done = CliRunner().invoke(command.cli, ["--home", home, *words])
    counts = ", ".join(f"{n} {what}" for what, n in sorted(Counter(_sent).items()))
    print(f"{told:44} {len(_sent):3}  {_bytes / 1e6:7.2f} MB  {counts}  {done.exception or ''}")


def main() -> None:
    _counting()
    client, bucket = boto3.client("s3", endpoint_url=SERVER), f"requests-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=bucket)
    os.environ["TRTREG_STORE"] = f"s3://{bucket}/store?endpoint_url={SERVER}"
    print(machine.described(("trtreg", "boto3")))
    try:
        with tempfile.TemporaryDirectory() as folder:
            builder, host = f"{folder}/builder", f"{folder}/host"
            write_yolov5(Path(folder) / "model.onnx", variant="n", image_size=320)
            runner = CliRunner()
            public = runner.invoke(command.cli, ["--home", builder, "key", "new"]).stdout.split()[0]
            for home in (builder, host):
                runner.invoke(command.cli, ["--home", home, "key", "trust", public])
            for name in ("one", "two"):
                call(f"model add {name}", builder, "model", "add", name, f"{folder}/model.onnx", "--alias", "prod")
            call("build: a miss", builder, "build", "one@prod", "--fp16")
            call("build: a second one", builder, "build", "two@prod")
            call("get one@prod: a host's first engine", host, "get", "one@prod", "--fp16")
            call("get two@prod: another within 300 s", host, "get", "two@prod")
            call("get one@prod: cached, within 300 s", host, "get", "one@prod", "--fp16")
            os.environ["TRTREG_REFRESH"] = "0"
            call("get one@prod: cached, after 300 s", host, "get", "one@prod", "--fp16")
            call("get one@1: cached, after 300 s", host, "get", "one@1", "--fp16")
            del os.environ["TRTREG_REFRESH"]
            call("get one@1: cached, within 300 s", host, "get", "one@1", "--fp16")
    finally:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for found in page.get("Contents", ()):
                client.delete_object(Bucket=bucket, Key=found["Key"])
        client.delete_bucket(Bucket=bucket)


if __name__ == "__main__":
    main()
