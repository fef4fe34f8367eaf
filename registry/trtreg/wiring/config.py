"""Settings: from flags, the environment, `trtreg.toml` and defaults, in this order, each with where it came from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtreg.catalog.url import sqlite_path, sqlite_url
from trtreg.core.limits import Limits
from trtreg.errors import UsageError
from trtreg.storage import places

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trtreg.core.sizes import Bound

FILE_NAME = "trtreg.toml"
_GIB = 2**30
# GiB that no machine has: a float beyond all bounds is no number of bytes.
_MOST_MEMORY = 2.0**32


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its value as text, and where it came from, in words."""

    value: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings by name; the properties give them their types.

    trust_folder  home as flags, the environment or the default name it: there lies whom this machine trusts
    moved_by      the file in the current folder that chose home or the cache, if one did
    """

    by_name: Mapping[str, Setting]
    trust_folder: Path
    moved_by: Path | None = None

    @property
    def home(self) -> Path:
        """Where the embedded defaults live."""
        return _folder(self.by_name["home"].value)

    @property
    def catalog(self) -> str:
        """SQLAlchemy URL of the catalog: `sqlite:////path/catalog.db`."""
        return self.by_name["catalog"].value

    @property
    def store(self) -> str:
        """Where the store is, as `storage.places` reads it."""
        return self.by_name["store"].value

    @property
    def cache(self) -> Path:
        """This machine's cache folder."""
        return _folder(self.by_name["cache"].value)

    @property
    def cache_size(self) -> Bound:
        """How much the cache may hold. Raises UsageError."""
        from trtreg.core.sizes import parse_bound

        setting = self.by_name["cache_size"]
        try:
            return parse_bound(setting.value)
        except ValueError:
            raise UsageError(
                f"cache_size is no size: {setting.value!r} (from {setting.origin})",
                hint="50G, 30% of the disk that the cache is on, or unlimited",
            ) from None

    @property
    def plugins(self) -> Path | None:
        """The folder of the plugin libraries that may be loaded; None where none may be."""
        setting = self.by_name.get("plugins")
        return _folder(setting.value) if setting else None

    @property
    def signatures(self) -> str | None:
        """`require`, `warn` or `off`; None where nobody chose."""
        setting = self.by_name.get("signatures")
        return setting.value if setting else None

    @property
    def signing_key(self) -> Path | None:
        """The file of the private key that was named; None where none was."""
        setting = self.by_name.get("signing_key")
        return _folder(setting.value) if setting else None

    @property
    def trusted_keys(self) -> str:
        """Public keys, as words."""
        setting = self.by_name.get("trusted_keys")
        return setting.value if setting else ""

    @property
    def refresh(self) -> float:
        """Seconds for which what a remote store has said is good. Raises UsageError."""
        return _not_negative("refresh", self.by_name["refresh"])

    @property
    def broker(self) -> str | None:
        """The AMQP URL of the farm's broker; None where there is no farm."""
        setting = self.by_name.get("broker")
        return setting.value if setting else None

    @property
    def heartbeat(self) -> float:
        """Seconds between two signs of life of a builder."""
        return _positive("heartbeat", self.by_name["heartbeat"])

    @property
    def limits(self) -> Limits:
        """What one child process may take."""
        return Limits(
            seconds=_positive("time_limit", self.by_name["time_limit"]),
            memory=int(min(_positive("memory_limit", self.by_name["memory_limit"]), _MOST_MEMORY) * _GIB),
        )


DESCRIPTIONS: Mapping[str, str] = {
    "home": "folder of the embedded defaults",
    "catalog": "database of names and engines, as an SQLAlchemy URL",
    "store": "where models and plans are kept: a directory or s3://BUCKET/PREFIX",
    "cache": "this machine's copies",
    "cache_size": "how much they may take: 50G, a number of bytes, 30% of the disk, or unlimited",
    "refresh": "seconds for which a remote store's names and revocations are remembered",
    "time_limit": "seconds that examining a model, or building and judging a plan, may take",
    "memory_limit": "GiB of memory that it may take",
    "heartbeat": "seconds between a builder's signs of life: after three it counts as dead, and another builds",
    "broker": "the farm's RabbitMQ: amqp://USER:PASSWORD@HOST//; no farm unless it is set",
    "plugins": "folder of the TensorRT plugin libraries that may be loaded; none may be unless it is set",
    "signatures": "require, warn or off: what becomes of records that no trusted key has signed",
    "signing_key": "file of the private key that signs what is written",
    "trusted_keys": "public keys that are trusted beside those of `trtreg key trust`, separated by white space",
}

_OF_NO_FILE = {
    "plugins": "plugins can't be allowed by a file",
    "signatures": "signatures can't be chosen by a file",
    "signing_key": "the signing key can't be chosen by a file",
    "trusted_keys": "keys can't be trusted by a file",
}
"""Whoever can write into the folder that somebody works in must not choose the code that runs there, nor whom to
trust."""


def load_settings(
    *, environment: Mapping[str, str], folder: Path, flags: Mapping[str, str | None], physical_memory: int
) -> Settings:
    """The settings in force.

    folder           where `trtreg.toml` is looked for first; then in home
    flags            by setting name; None where it wasn't given
    physical_memory  bytes; the default memory limit is four fifths of it

    Raises UsageError for a `trtreg.toml` that can't be read, for a setting that it shouldn't have, for an empty
    one, and for one that is no UTF-8.
    """
    ours = [_from_flags(flags), _from_environment(environment)]
    here = _from_file(folder / FILE_NAME)
    given = [*ours, here]
    trust_folder = _folder((_first("home", ours) or Setting(_default_home(environment), "default")).value)
    home = _first("home", given) or Setting(_default_home(environment), "default")
    root = _folder(home.value)
    given.append(_from_file(root / FILE_NAME))
    defaults = {
        "catalog": sqlite_url(root / "catalog.db"),
        "store": places.written(root / "store"),
        "cache": str(root / "cache"),
        "cache_size": "50%",
        "refresh": "300",
        "time_limit": "3600",
        "memory_limit": f"{physical_memory * 0.8 / _GIB:.1f}",
        "heartbeat": "5",
    }
    # A file in home has been found by it, and can't move it any more.
    chosen = {"home": home} | {n: _first(n, given) or Setting(value, "default") for n, value in defaults.items()}
    chosen |= {name: setting for name in (*_OF_NO_FILE, "broker") if (setting := _first(name, given))}
    for name, setting in chosen.items():
        _require_text(name, setting)
    moved = {"home", "cache"} & {name for name in here if here[name] == chosen[name]}
    return Settings(
        by_name=chosen,
        trust_folder=trust_folder,
        moved_by=folder / FILE_NAME if moved and folder.resolve() != trust_folder.resolve() else None,
    )


def _first(name: str, given: list[dict[str, Setting]]) -> Setting | None:
    return next((layer[name] for layer in given if name in layer), None)


def _from_flags(flags: Mapping[str, str | None]) -> dict[str, Setting]:
    return {name: Setting(value, f"--{name.replace('_', '-')}") for name, value in flags.items() if value is not None}


def _from_environment(environment: Mapping[str, str]) -> dict[str, Setting]:
    variables = {name: f"TRTREG_{name.upper()}" for name in DESCRIPTIONS}
    return {name: Setting(environment[v], v) for name, v in variables.items() if environment.get(v)}


def _from_file(path: Path) -> dict[str, Setting]:
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror}") from None
    # Only here: most machines have no such file, and a hit should not pay for the parser.
    import tomllib

    try:
        table = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no TOML: {error}") from None
    if unknown := sorted(set(table) - set(DESCRIPTIONS)):
        raise UsageError(f"{path}: no such setting: {', '.join(unknown)}", hint=f"there are {', '.join(DESCRIPTIONS)}")
    if refused := sorted(set(table) & set(_OF_NO_FILE)):
        raise UsageError(f"{path}: {_OF_NO_FILE[refused[0]]}", hint=f"set TRTREG_{refused[0].upper()}")
    texts = {name: _text(path, name, value) for name, value in table.items()}
    return {name: Setting(_anchored(name, text, path.parent), str(path)) for name, text in texts.items()}


def _text(path: Path, name: str, value: object) -> str:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise UsageError(f"{path}: {name} must be a text or a number, not {value!r}")


def _anchored(name: str, text: str, folder: Path) -> str:
    """A place that a file in `folder` names is relative to the file, from wherever trtreg is called."""
    if not text.strip():
        return text
    if name == "catalog":
        return _anchored_url(text, folder)
    if name == "store":
        return places.anchored(text, folder)
    if name not in ("home", "cache"):
        return text
    return str(folder / _expanded(text))


def _anchored_url(url: str, folder: Path) -> str:
    path = sqlite_path(url)
    if path is None or path.is_absolute():
        return url
    scheme, _, name = url.partition(":///")
    return f"{scheme}:{sqlite_url(folder).partition(':')[2]}/{name}"


def _default_home(environment: Mapping[str, str]) -> str:
    base = environment.get("XDG_DATA_HOME") or "~/.local/share"
    return f"{base}/trtreg"


def _folder(name: str) -> Path:
    return Path(_expanded(name)).absolute()


def _expanded(name: str) -> str:
    # By os.path: Path.expanduser raises where there is no home folder, as in some containers.
    return os.path.expanduser(name)  # noqa: PTH111


def _require_text(name: str, setting: Setting) -> None:
    if not setting.value.strip():
        raise UsageError(f"{name} is empty (from {setting.origin})", hint=f"it is: {DESCRIPTIONS[name]}")
    try:
        setting.value.encode()
    except UnicodeEncodeError:
        # ONNX Runtime takes no path that isn't.
        raise UsageError(f"{name} is no UTF-8: {setting.value!r} (from {setting.origin})") from None


def _not_negative(name: str, setting: Setting) -> float:
    try:
        value = float(setting.value)
    except ValueError:
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise UsageError(f"{name} must be a number from 0, not {setting.value!r} (from {setting.origin})")
    return value


def _positive(name: str, setting: Setting) -> float:
    try:
        value = float(setting.value)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise UsageError(f"{name} must be a positive number, not {setting.value!r} (from {setting.origin})")
    return value
