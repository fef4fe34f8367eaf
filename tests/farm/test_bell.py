"""The bell at a real broker."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog.examples import manifest
from farm.conftest import new_virtual_host
from services.proxy import troubled
from trtreg.catalog.builds import SqlBuilds
from trtreg.core.build import Wish
from trtreg.core.key import Key
from trtreg.errors import Unreachable
from trtreg.farm import bell as its_module
from trtreg.farm.bell import CeleryBell, app_of

WISH = Wish(key=Key(manifest().key), request="{}", model="tiny@1", queue="trtreg.somewhere", priority=7)


def test_a_network_that_swallows_what_is_sent_is_out_of_reach_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(its_module, "_SECONDS", 0.5)
    build, _ = SqlBuilds(f"sqlite:///{tmp_path}/catalog.db").want(WISH)
    with new_virtual_host() as url, troubled(url, lambda _: None) as network:
        bell = CeleryBell(url.replace(":5672", f":{network.port}"))
        bell.ring(build)
        network.passes.clear()
        with pytest.raises(Unreachable, match="the broker"):
            bell.ring(build)
        network.passes.set()
        bell.ring(build)


def test_a_message_has_the_priority_of_its_build(tmp_path: Path) -> None:
    build, _ = SqlBuilds(f"sqlite:///{tmp_path}/catalog.db").want(WISH)
    with new_virtual_host() as url:
        CeleryBell(url).ring(build)
        with app_of(url).connection_for_read() as connection:
            message = connection.default_channel.basic_get(WISH.queue, no_ack=True)
    assert message.properties["priority"] == 7
