#!/usr/bin/env python3
"""One bucket policy for the roles beside this file: who may read, build in and keep in order a store of trtreg.

    bucket_policy.py engines team-a reader=arn:aws:iam:::user/fleet builder=arn:aws:iam:::user/ci > policy.json
    aws s3api put-bucket-policy --bucket engines --policy file://policy.json

A role may be given several times. On AWS an ARN has the account in it; on Ceph, the tenant if there is one. Where users
have policies of their own, attach the JSON files to them instead, with BUCKET and PREFIX replaced.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROLES = ("reader", "builder", "administrator")


def statements(role: str, bucket: str, prefix: str) -> list[dict[str, Any]]:
    """What a role may do in the store below `prefix`; below the bucket itself if that is empty."""
    text = (Path(__file__).parent / f"{role}.json").read_text()
    if not prefix:
        text = text.replace("/PREFIX/", "/").replace('"PREFIX/*"', '"*"')
    found: list[dict[str, Any]] = json.loads(text.replace("BUCKET", bucket).replace("PREFIX", prefix))["Statement"]
    return found


def bucket_policy(bucket: str, prefix: str, members: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The policy of a bucket for these members, each a role and an ARN."""
    arns: dict[str, list[str]] = {}
    for role, arn in members:
        arns.setdefault(role, []).append(arn)
    return {
        "Version": "2012-10-17",
        "Statement": [
            {**statement, "Principal": {"AWS": arns[role]}}
            for role in ROLES
            if role in arns
            for statement in statements(role, bucket, prefix)
        ],
    }


def main() -> None:
    """The policy on stdout."""
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    bucket, prefix, *given = sys.argv[1:]
    members = [(role, arn) for role, _, arn in (word.partition("=") for word in given)]
    if unknown := {role for role, arn in members if role not in ROLES or not arn}:
        sys.exit(f"{', '.join(sorted(unknown))}: write ROLE=ARN, with a role of {', '.join(ROLES)}")
    print(json.dumps(bucket_policy(bucket, prefix.strip("/"), members), indent=2))


if __name__ == "__main__":
    main()
