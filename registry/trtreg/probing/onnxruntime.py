"""ONNX Runtime on this machine's CPU, as a target. Once known, it is remembered, and ONNX Runtime isn't imported."""

from __future__ import annotations

from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from trtreg.core.digest import digest_of
from trtreg.core.target import Target
from trtreg.probing.finding import Available, Finding, Missing
from trtreg.probing.machine import architecture, cpu_identity, platform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trtreg.interfaces import Notes

_KIND = "onnxruntime-probe"
_INSTALL = "pip install 'trtreg[onnxruntime]'"
_VARIANTS = ("", "-gpu", "-openvino", "-qnn", "-cann", "-rocm", "-migraphx", "-training", "-directml")
"""Distributions that all bring a package called onnxruntime, and overwrite one another's files."""


def probe_onnxruntime(notes: Notes) -> Finding:
    """What ONNX Runtime is here. The answer is remembered until the installation or the CPU is another one."""
    package = _package()
    if package is None:
        return Missing("onnxruntime isn't installed", _INSTALL)
    cpu = cpu_identity()
    subject = _subject(package, cpu)
    remembered = _remembered(notes.recall(_KIND, subject))
    if remembered is None:
        asked = _ask(package)
        if isinstance(asked, Missing):
            return asked
        notes.remember(_KIND, subject, asked)
        remembered = asked
    target = Target(
        runtime="onnxruntime",
        runtime_version=remembered["version"],
        architecture=architecture(),
        platform=platform(),
        layout=remembered["layout"],
    )
    return Available(target, {"cpu": cpu.get("model name", target.architecture), "package": str(package)})


def _package() -> Path | None:
    """The folder that `import onnxruntime` would take, found without importing it."""
    spec = PathFinder.find_spec("onnxruntime")
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _subject(package: Path, cpu: Mapping[str, str]) -> str:
    """Another string whenever the answer may be another: after an upgrade, and on another kind of CPU, for the
    notes may lie on a disk that many machines share."""
    stamps = [_stamp(package / part) for part in ("__init__.py", "capi")]
    return digest_of(_KIND, {"package": str(package), "stamps": tuple(stamps), "cpu": cpu, "platform": platform()})


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "absent"
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def _remembered(note: Mapping[str, object] | None) -> dict[str, str] | None:
    """The note, if it holds what this trtreg writes."""
    known = {name: str(note[name]) for name in ("version", "layout") if note and note.get(name)}
    return known if len(known) == 2 else None


def _ask(package: Path) -> dict[str, str] | Missing:
    installed = _distributions(package.parent)
    if len(installed) > 1:
        together = " and ".join(installed)
        return Missing(
            f"{together} are installed together and overwrite each other's files",
            f"pip uninstall -y {' '.join(installed)}, then {_INSTALL}",
        )
    try:
        version = import_module("onnxruntime").__version__
    except (ImportError, OSError) as broken:
        words = " ".join(str(broken).split())
        return Missing(f"onnxruntime is installed, but can't be imported: {words}", f"{_INSTALL} --force-reinstall")
    from trtreg.probing.onnxruntime_layout import layout_fingerprint

    return {"version": version, "layout": layout_fingerprint()}


def _distributions(folder: Path) -> list[str]:
    """The distributions beside the package that claim it."""
    variants = {f"onnxruntime{v.replace('-', '_')}": f"onnxruntime{v}" for v in _VARIANTS}
    stems = {entry.name.partition("-")[0].lower() for entry in folder.glob("*.dist-info")}
    return [name for stem, name in sorted(variants.items()) if stem in stems]
