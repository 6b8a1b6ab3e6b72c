"""Ends with 0 when the wrapper says that it is ready, else with 1 and the reason: the image's HEALTHCHECK.

Where it listens it learns as the wrapper does: from the flags after ``--`` that the container was started with, the
variables of the environment, and the defaults, in this order.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys
from pathlib import Path
from typing import List, Mapping

from kserve_wrapper import cli
from kserve_wrapper.settings import Settings

#: The container's first process: the supervisor, or an init with the supervisor's command line as its own arguments.
FIRST_PROCESS = Path("/proc/1/cmdline")
#: What starts the supervisor, whose flags for the wrapper follow ``--``, and what starts the wrapper alone.
SUPERVISORS = ("kserve_wrapper.supervisor", "kserve_wrapper.supervisor.main", "supervise")
WRAPPERS = ("kserve_wrapper", "kserve_wrapper.main", "wrapper")
#: The command whose next word is one of these.
COMMAND = "ts-kserve"
SECONDS = 3.0


def wrapper_flags(command_line: bytes) -> List[str]:
    """What follows ``torchserve … --`` on the supervisor's command line, or the wrapper's own name."""
    words = [word.decode("utf-8", "replace") for word in command_line.split(b"\0")[:-1]]
    names = [word.rpartition("/")[2] for word in words]
    if COMMAND in names:
        names[: names.index(COMMAND) + 1] = [""] * (names.index(COMMAND) + 1)
    starts = [place for place, name in enumerate(names) if name in SUPERVISORS + WRAPPERS]
    if not starts:
        return []
    rest = words[starts[0] + 1 :]
    if names[starts[0]] in WRAPPERS:
        return rest
    return rest[rest.index("--") + 1 :] if "--" in rest else []


def settings(command_line: bytes, environ: Mapping[str, str]) -> Settings:
    """The wrapper's settings; exits with status 2 and a message where the wrapper would have."""
    return cli.parse(wrapper_flags(command_line), environ)


def connection(chosen: Settings) -> http.client.HTTPConnection:
    host = "127.0.0.1" if chosen.host in ("", "0.0.0.0", "::") else chosen.host
    if not chosen.ssl_certfile:
        return http.client.HTTPConnection(host, chosen.http_port, timeout=SECONDS)
    # The certificate is made out to the name that clients use; this asks the process next door.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(host, chosen.http_port, timeout=SECONDS, context=context)


def trouble(chosen: Settings) -> str:
    """Why the wrapper is not ready; empty where it is."""
    if chosen.http_port == 0:
        return "--http_port 0 takes a port that nobody else knows; name one"
    asked = connection(chosen)
    try:
        asked.request("GET", "/v2/health/ready")
        status = asked.getresponse().status
        return "" if status == 200 else f"the wrapper is not ready: /v2/health/ready is answered with {status}"
    except ssl.SSLError as error:
        if chosen.ssl_ca_certs:
            # It asks for a client's certificate, so it answers, and more it does not tell.
            return ""
        return f"TLS at port {chosen.http_port}: {error}"
    except (OSError, http.client.HTTPException) as error:
        return f"port {chosen.http_port} of {asked.host} does not answer: {error}"
    finally:
        asked.close()


if __name__ == "__main__":
    first = FIRST_PROCESS.read_bytes() if FIRST_PROCESS.exists() else b""
    reason = trouble(settings(first, os.environ))
    if reason:
        print(reason, file=sys.stderr)
    sys.exit(1 if reason else 0)
