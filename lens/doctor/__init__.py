"""What is installed, cached and usable on this machine, and which models fit it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from dataclasses import dataclass, field
from importlib import metadata
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from lens.cache import SOURCES, cache_dir, check, folder_of, in_hub_cache
from lens.extras import EXTRAS, absent
from lens.reading import safetensors_header

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Report", "chromium", "doctor", "memory", "models"]

CORE = (
    "torch",
    "transformers",
    "transformer-lens",
    "numpy",
    "scipy",
    "xarray",
    "zarr",
    "matplotlib",
)
#: Hub names that a person may begin with; how many parameters each has stands in its name.
HUB = (
    "EleutherAI/pythia-160m",
    "Qwen/Qwen2.5-0.5B",
    "meta-llama/Llama-3.2-1B",
    "Qwen/Qwen2.5-3B",
    "allenai/OLMo-2-1124-7B",
)
#: Bytes of a parameter, and gigabytes that a sweep may take beside the weights.
BYTES, BESIDE = {"float32": 4, "bfloat16": 2}, 1.0
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
    report.sections["extras"] = _extras()
    report.sections["machine"] = _machine()
    report.sections["cache"] = _cache(report.usable)
    from lens.models.shipped import ORGANISM, organisms

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
    return next((path for name in candidates if (path := shutil.which(name))), None)


def memory() -> float:
    """Gigabytes that a model can have now: what is free on the first CUDA device where there is one, else what the
    system has to give; all of its memory where it does not say.
    """
    import torch

    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0] / 1e9
    file = Path("/proc/meminfo")
    if file.is_file() and (free := re.search(r"MemAvailable:\s+(\d+) kB", file.read_text())):
        return int(free[1]) * 1024 / 1e9
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def models() -> DataFrame:
    """Models to begin with, one a row: millions of parameters, gigabytes in float32, where it lies or how it comes
    here, and whether it fits into the memory that is free now, beside a gigabyte for what a sweep holds.
    """
    import pandas as pd

    from lens.models.shipped import ORGANISM, WORDS, folders

    shipped = folders(WORDS)
    known = [(ORGANISM + name, _parameters(folder), "ships with the package") for name, folder in shipped.items()]
    rows = [row for row in known if "-" not in row[0]]
    for name, source in SOURCES.items():
        folder = folder_of(name)
        here = folder.is_dir() and not check(folder)
        rows.append(
            (name, _named(source.member.rpartition("/")[2]), "fetched" if here else f"after `lens fetch {name}`")
        )
    rows += [
        (name, _named(name), "in the hub's cache" if in_hub_cache(name) else "from the hub, when loaded")
        for name in HUB
    ]
    free, lines = memory(), []
    for name, parameters, lies in sorted(rows, key=lambda row: row[1]):
        fits = [dtype for dtype, size in BYTES.items() if parameters * size / 1e3 + BESIDE <= free]
        fit = "yes" if "float32" in fits else f"with dtype='{fits[0]}'" if fits else "no"
        lines.append((name, parameters, parameters * BYTES["float32"] / 1e3, lies, fit))
    columns = ["model", "million parameters", "GB in float32", "where", "fits"]
    return pd.DataFrame(lines, columns=columns).set_index("model").round(2)


def _parameters(folder: Path) -> float:
    """Millions of parameters of a folder's weights, by the headers of its files."""
    headers = [safetensors_header(path, RuntimeError) for path in folder.glob("*.safetensors")]
    return sum(prod(entry["shape"]) for header in headers for entry in header.values()) / 1e6


def _named(name: str) -> float:
    """Millions of parameters that a model's name tells."""
    number, unit = re.findall(r"(\d+(?:\.\d+)?)([mb])\b", name.lower())[-1]
    return float(number) * (1000 if unit == "b" else 1)


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
    names = (re.match(r"[\w.-]+", line) for line in required if "extra ==" not in line)
    return [name[0] for name in names if name is not None]


def _extras() -> list[str]:
    """Which extras are there; of one that is not, what it lacks and the command that brings it."""
    lines = []
    for extra in EXTRAS:
        missing = ", ".join(absent(extra))
        state = f"{missing} missing: pip install 'mnemoscope[{extra}]'" if missing else "installed"
        lines.append(f"{extra:24} {state}")
    return lines


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
