"""``ts-kserve``: one command for what a person does with models, from a new folder to manifests for a cluster.

Each command is a module of this package with ``main(arguments) -> exit status``, and a line in ``COMMANDS``. Modules
are imported when their command is called: the server need not wait for what draws a picture. argparse is enough for
that, brings nothing to install, and is what the server's own flags have.
"""

from __future__ import annotations

from typing import Dict, Tuple

#: Name: the module, and what ``ts-kserve --help`` says of it.
COMMANDS: Dict[str, Tuple[str, str]] = {
    "new": ("new", "make a folder for a model of one's own, complete"),
    "build": ("build", "pack models' folders into archives (MARs), and see them load"),
    "check": ("check", "check archives, folders, model directories and configurations"),
    "serve": ("serve", "serve folders or archives on this machine, and say what to try"),
    "convert": ("convert", "turn images into a request's JSON"),
    "explain": ("explain", "draw what speaks for a running model's answer, and what against it"),
    "bench": ("bench", "a short load on a running server, as a table"),
    "manifests": ("manifests", "write what KServe needs of models: model directory, runtime, service, claim"),
    "try": ("try_page", "a page in the browser to try a server's models with"),
    "wrapper": ("wrapper", "the wrapper alone, in front of a TorchServe that runs"),
    "supervise": ("supervise", "TorchServe and the wrapper as one, for containers"),
}
