"""What all tests share: where the real models lie, settings of their own, and no skip where CI wants all."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from services.ceph import S3Server

pytest_plugins = ["pytester"]

TEST_DATA = "TRTREG_TEST_DATA"
REQUIRE_ALL = "TRTREG_REQUIRE_ALL"

# Two busy cores make any deadline a matter of luck.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real models, samples, pictures and hostile files."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get(TEST_DATA, default))
    if not (folder / "models").is_dir():
        pytest.skip(f"no test data at {folder}; set {TEST_DATA}")
    return folder


@dataclass(frozen=True)
class Bucket:
    """A bucket of this worker's own on a real S3 server, and an S3 client beside trtreg's."""

    name: str
    server: S3Server
    client: Any

    def place(self, prefix: str, *, endpoint: str = "", **options: object) -> str:
        """Its address below `prefix`, for TRTREG_STORE."""
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"s3://{self.name}/{prefix}?endpoint_url={endpoint or self.server.http}{more}"


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """TRTREG_TEST_S3, or a server that is started for the whole run; its credentials are in the environment then."""
    from services.s3 import some_server

    mine = tmp_path_factory.getbasetemp()
    shared = mine.parent if os.environ.get("PYTEST_XDIST_WORKER") else mine
    with some_server(shared) as server, pytest.MonkeyPatch.context() as environment:
        for name, value in server.environment.items():
            if name.startswith("AWS_"):
                environment.setenv(name, value)
        if server.authority:
            environment.setenv("AWS_CA_BUNDLE", server.authority)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            environment.delenv(name, raising=False)
        environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
        environment.setenv("AWS_CONFIG_FILE", str(mine / "no-aws-config"))
        environment.setenv("AWS_SHARED_CREDENTIALS_FILE", str(mine / "no-aws-credentials"))
        yield server


@pytest.fixture(scope="session")
def bucket(s3_server: S3Server) -> Iterator[Bucket]:
    """A bucket of this worker's own."""
    from services.s3 import bucket_at, client_of

    with bucket_at(s3_server, f"trtreg-{os.urandom(6).hex()}") as name:
        client = client_of(s3_server)
        yield Bucket(name, s3_server, client)
        client.close()


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whoever runs the tests may have a registry of his own: no test reads its settings or writes into it."""
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("TRTREG_")]:
            if name != REQUIRE_ALL and not name.startswith("TRTREG_TEST_"):
                environment.delenv(name)
        environment.setenv("TRTREG_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(autouse=True)
def _a_home_for_each_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTREG_HOME", str(tmp_path / "trtreg-home"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_a_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_a_skip(report)
    return report


def _refuse_a_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """With TRTREG_REQUIRE_ALL=1 what is absent fails: in CI a test that didn't run must not look like a pass."""
    expected_to_fail = hasattr(report, "wasxfail")
    if os.environ.get(REQUIRE_ALL) != "1" or not report.skipped or expected_to_fail:
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"{REQUIRE_ALL}=1, and this was skipped. {reason}"
