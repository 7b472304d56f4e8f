"""What this build is and what it runs on."""

from typing import Any

import numpy as np

from cconv import kernels
from cconv._checks import choice
from cconv._version import __version__

__all__ = ["show_config"]


def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Show the version, the CPU level in use, threads and how the kernels were built; a bug report wants this.

    Parameters
    ----------
    mode : {'stdout', 'dicts'}
        'stdout' prints the configuration; 'dicts' returns it as a dictionary.

    Returns
    -------
    dict or None
        None with mode 'stdout'.

    Raises
    ------
    ValueError
        If mode is neither of the two.

    Examples
    --------
    >>> import cconv
    >>> config = cconv.show_config(mode="dicts")
    >>> config["cpu"]["level"] in config["cpu"]["levels"]
    True
    """
    import json  # here, since only this function needs them and they would slow the import of cconv
    import platform
    from pathlib import Path

    choice(mode, "mode", ("stdout", "dicts"))
    build = json.loads(Path(kernels.__file__).with_name("build_info.json").read_text(encoding="utf-8"))
    config = {
        "cconv": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "cpu": {"level": kernels.LEVEL, "levels": list(kernels.levels())},
        "threads": {"pool": kernels.cpu.pool, "num_threads": kernels.cpu.get_num_threads()},
        "build": build,
    }
    if mode == "dicts":
        return config
    for name, value in config.items():
        if not isinstance(value, dict):
            print(f"{name}: {value}")
            continue
        print(f"{name}:")
        for key, entry in value.items():
            if isinstance(entry, dict):
                entry = "; ".join(f"{level}: {flags or 'no flags'}" for level, flags in entry.items())
            elif isinstance(entry, list):
                entry = ", ".join(entry)
            print(f"  {key}: {entry}")
    return None
