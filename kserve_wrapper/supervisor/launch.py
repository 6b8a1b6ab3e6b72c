"""The Java command that is TorchServe.

TorchServe's own launcher (``torchserve --start``) keeps one process id file for the whole machine and leaves Java in
the background; started directly, it can be watched, and several can run side by side. Everything that the launcher
takes as an argument goes into the derived config.properties: arguments differ between versions, properties that a
version does not know are passed over.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Tuple

from kserve_wrapper.supervisor.java import Java
from kserve_wrapper.torchserve import log_records
from kserve_wrapper.torchserve.config import ENVIRONMENT, TorchServeConfig
from kserve_wrapper.torchserve.properties import ConfigError

#: What Java is told unless ``vmargs`` says otherwise.
#:
#: Compile quickly, once: batching leaves Java few requests, and the thorough compiler takes its time from the model
#: just while a pod starts and warms up.
#:
#: Keep the threads that TorchServe hands batches to: on one or two processors Java would start a thread for each batch.
#: Such a thread waits while a worker does not read, so there may be more of them than workers that hang.
_VIRTUAL = "-XX:TieredStopAtLevel=1 -Djava.util.concurrent.ForkJoinPool.common.parallelism=64"
#: The first version that asks for tokens.
_TOKENS_SINCE = (0, 11, 1)


@dataclass(frozen=True)
class Installation:
    """TorchServe's Python package ``ts`` with the Java server in it."""

    home: Path
    version: Tuple[int, ...]

    @property
    def asks_for_tokens(self) -> bool:
        return self.version >= _TOKENS_SINCE


def find_torchserve() -> Installation:
    """The TorchServe of this Python. Raises ConfigError."""
    package = importlib.util.find_spec("ts")
    places = list(package.submodule_search_locations or []) if package is not None else []
    for place in map(Path, places):
        if (place / "frontend" / "model-server.jar").is_file():
            text = (place / "version.txt").read_text(encoding="ascii").strip()
            return Installation(place.parent, tuple(int(n) for n in text.split(".")[:3] if n.isdigit()))
    raise ConfigError(f"TorchServe is not installed in {sys.executable}. Install it: pip install torchserve")


def command(
    java: Java, installation: Installation, config: TorchServeConfig, log_config: Optional[Path], run: Path
) -> List[str]:
    """What to execute.

    Args:
        config: the derived file; its ``vmargs`` and ``plugins_path`` are honoured as the launcher does.
        log_config: a log4j2 file, or None for the one that ``vmargs`` names, or TorchServe's own.
        run: a private directory: the working directory and, in it, Java's temporary files and worker sockets.
    """
    settings = config.settings
    virtual = (settings["vmargs"].value if "vmargs" in settings else _VIRTUAL).split()
    if log_config is not None:
        virtual = [word for word in virtual if not word.startswith(("-Dlog4j.configurationFile=", "-Dlog4j2.conf"))]
        # Of several files the later ones add to the first.
        files = (log_config.resolve(), Path(__file__).with_name("load_log4j2.xml"))
        virtual.append("-Dlog4j.configurationFile=" + ",".join(file.as_uri() for file in files))
        virtual.append(f"-Dts.kserve.loads={run / log_records.NAME}")
    classes = [".", str(installation.home / "ts" / "frontend" / "*")]
    if "plugins_path" in settings:
        plugins = settings["plugins_path"].value
        classes.append(plugins if "*" in plugins else f"{plugins}/*")
    return [
        str(java.path),
        f"-Dmodel_server_home={installation.home}",
        f"-Djava.io.tmpdir={run / 'tmp'}",
        *virtual,
        "-cp",
        os.pathsep.join(classes),
        "org.pytorch.serve.ModelServer",
        *("--python", sys.executable),
        *("--ts-config-file", str(config.path)),
        "--no-config-snapshot",
    ]


def without_overridden(environ: Mapping[str, str], overridden: Mapping[str, object]) -> Dict[str, str]:
    """The environment without the TS_* that would undo what was overridden."""
    undoing = {name for name, key in ENVIRONMENT.items() if key in overridden} | {"TS_CONFIG_FILE"}
    return {name: value for name, value in environ.items() if name not in undoing}


def environment(environ: Mapping[str, str], java: Java) -> Dict[str, str]:
    """TorchServe's environment: this one, with ``java`` and ``python`` where it looks for them.

    Workers say which signal ends them, unless the environment says otherwise: TorchServe keeps it to itself.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", os.defpath)])
    return {"PYTHONFAULTHANDLER": "1", **environ, "JAVA_HOME": str(java.path.parent.parent), "PATH": path}
