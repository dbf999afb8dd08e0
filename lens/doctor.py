"""What is installed, cached and usable on this machine."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from lens.cache import SOURCES, cache_dir, check, folder_of

__all__ = ["Report", "chromium", "doctor"]

CORE = (
    "torch",
    "transformers",
    "transformer-lens",
    "numpy",
    "scipy",
    "xarray",
    "zarr",
    "matplotlib",
    "jupyterlab",
    "anywidget",
)
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass
class Report:
    """The findings of `doctor`: titled lines for a person, and `usable` for a program."""

    sections: dict[str, list[str]] = field(default_factory=dict)
    usable: dict[str, bool] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the default model can be loaded."""
        return self.usable["smollm2"]

    def __str__(self) -> str:
        return "\n".join(
            f"{title}\n" + "\n".join(f"  {line}" for line in lines) for title, lines in self.sections.items()
        )


def doctor() -> Report:
    """Report versions, device, threads, the cache with a full hash check, Chromium, and what is usable; changes
    nothing.
    """
    report = Report()
    report.sections["versions"] = _versions()
    report.sections["machine"] = _machine()
    report.sections["cache"] = _cache(report.usable)
    from lens.models import ORGANISM, organisms

    browser = chromium()
    report.usable.update({ORGANISM + name: True for name in organisms()})
    report.usable["browser tests"] = browser is not None and _installed("playwright") is not None
    report.sections["chromium"] = [
        browser or "not found: the browser tests are left out (Debian: apt-get install chromium)"
    ]
    report.sections["usable"] = [f"{name:24} {'yes' if usable else 'no'}" for name, usable in report.usable.items()]
    return report


def chromium() -> str | None:
    """The path of a Chromium that the browser tests can drive, or None; `$CHROMIUM` overrides the search."""
    candidates = [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else CHROMIUM
    return next((found for name in candidates if (found := shutil.which(name))), None)


def _installed(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _versions() -> list[str]:
    lines = [f"{'python':24} {platform.python_version()} ({sys.executable})"]
    for name in ("mnemoscope", *_requirements()):
        lines.append(f"{name:24} {_installed(name) or 'not installed'}")
    return lines


def _requirements() -> list[str]:
    """The distributions that the installed project asks for outside its extras; a short list when it is not
    installed.
    """
    try:
        required = metadata.requires("mnemoscope") or []
    except metadata.PackageNotFoundError:
        return list(CORE)
    return [re.match(r"[\w.-]+", line).group() for line in required if "extra ==" not in line]


def _machine() -> list[str]:
    import torch

    lines = [
        f"{'platform':24} {platform.platform()}",
        f"{'threads':24} {torch.get_num_threads()} of {os.cpu_count()} cores",
    ]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            lines.append(f"{f'cuda:{index}':24} {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    if torch.backends.mps.is_available():
        lines.append(f"{'mps':24} available")
    auto = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    lines.append(f"{'device=auto takes':24} {auto}")
    return lines


def _cache(usable: dict[str, bool]) -> list[str]:
    lines = [str(cache_dir())]
    for name in SOURCES:
        folder = folder_of(name)
        faults = check(folder, full=True) if folder.exists() else [f"not fetched; run `lens fetch {name}`"]
        usable[name] = not faults
        if folder.exists():
            lines.append(
                f"{name:24} {_megabytes(folder)}, {'; '.join(faults) if faults else 'sizes and SHA-256 as written'}"
            )
            if faults:
                lines.append(f"{'':24} run `lens fetch {name}` to replace it")
        else:
            lines.append(f"{name:24} {faults[0]}")
    models = cache_dir() / "models"
    left = sorted(path for path in models.glob(".*") if path.is_dir()) if models.is_dir() else []
    lines.extend(f"{path.name:24} {_megabytes(path)}, of a fetch that is running or was killed" for path in left)
    return lines


def _megabytes(folder: Path) -> str:
    return f"{sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 1e6:.0f} MB"
