"""One command for a container: starts TorchServe and the wrapper, and lets neither run without the other.

SIGTERM: the wrapper drains, then TorchServe stops, then whatever still runs is killed, all within
``--drain_timeout``. Where the wrapper has a ``--drain_delay``, it first goes on serving for so long.
When either ends, or does not answer for ``--hang_limit``, the other is ended too and the exit status is 1, so that
Kubernetes restarts the container.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Dict, Mapping, Optional, Sequence, Tuple

from kserve_wrapper.modelstore.findings import Severity
from kserve_wrapper.supervisor import checks, derived_config, java, launch, options
from kserve_wrapper.supervisor.options import Options, WrapperFlags
from kserve_wrapper.supervisor.probe import Probe
from kserve_wrapper.supervisor.processes import Child, become_reaper, reap, wait_end, wait_gone, wait_signal
from kserve_wrapper.torchserve import log_records, properties, tokens
from kserve_wrapper.torchserve.config import TorchServeConfig, load

#: Of the time to drain, what is kept for TorchServe to stop in: seconds at most, and as a fraction.
_TORCHSERVE_SECONDS, _TORCHSERVE_PART = 6.0, 0.3
#: The name of a worker's socket at its longest, and bytes of the whole path that Linux takes (sun_path less its end).
_SOCKET, _LONGEST_SOCKET = ".ts.sock.65535", 107
#: Seconds for the other one to stop in, when one has ended by itself.
_HURRY = 5.0


def say(text: str) -> None:
    """A line to standard error; TorchServe writes to standard output."""
    print(f"supervisor: {text}", file=sys.stderr, flush=True)


def _reserve(drain_timeout: float) -> float:
    """Seconds of ``drain_timeout`` that TorchServe gets."""
    return min(_TORCHSERVE_SECONDS, _TORCHSERVE_PART * drain_timeout)


class Supervisor:
    """Two children and the loop that watches them.

    Args:
        torchserve: stopped last.
        wrapper: stopped first, and asked whether both are alive.
        probe: asks the wrapper.
        drain_timeout: seconds from when the wrapper refuses requests until the end.
        drain_delay: seconds from the first signal until then.
    """

    def __init__(
        self, torchserve: Child, wrapper: Child, probe: Probe, drain_timeout: float, drain_delay: float = 0.0
    ) -> None:
        self._torchserve, self._wrapper = torchserve, wrapper
        self._children: Dict[int, Child] = {child.pid: child for child in (torchserve, wrapper)}
        self._probe = probe
        self._drain_timeout, self._drain_delay = drain_timeout, drain_delay

    def run(self) -> int:
        """Until the end; the exit status."""
        try:
            while True:
                number = wait_signal(self._probe.pause())
                reap(self._children)
                if number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    return self._drain(signal.Signals(number).name)
                for child in self._children.values():
                    if not child.running:
                        return self._fail(f"{child.name} (process {child.pid}) {child.ending()}")
                fault = self._probe.ask()
                if fault is not None:
                    return self._fail(fault)
        finally:
            for child in self._children.values():
                child.kill_group()
            # A killed process ends when the kernel comes to it; who sees this one end must find none of them.
            wait_gone(list(self._children.values()), time.monotonic() + _HURRY, self._children)

    def _drain(self, cause: str) -> int:
        within = self._drain_delay + self._drain_timeout
        say(f"{cause}: the wrapper drains, then TorchServe stops, within {within:g} s")
        end = time.monotonic() + within
        hurry = self._stop(self._wrapper, end - _reserve(self._drain_timeout))
        if not hurry:
            hurry = self._stop(self._torchserve, end)
        say("stopped at once, as asked twice" if hurry else "stopped")
        return 0

    def _fail(self, fault: str) -> int:
        say(f"{fault}. Stopping everything; the exit status is 1.")
        end = time.monotonic() + min(_HURRY, self._drain_timeout)
        self._stop(self._wrapper, end)
        self._torchserve.kill_group()
        return 1

    def _stop(self, child: Child, deadline: float) -> bool:
        """Asks a child to end and waits; kills it at the deadline. True where a second signal asks for haste."""
        child.signal(signal.SIGTERM)
        hurry = wait_end([child], deadline, self._children)
        if hurry is None and child.running:
            say(f"{child.name} (process {child.pid}) did not stop in time; killing it")
        child.kill_group()
        return hurry is not None


def ask(chosen: Options, environ: Mapping[str, str]) -> Tuple[TorchServeConfig, Dict[str, str]]:
    """What the user asks for, and the environment without what ``--set`` overrules. Raises ConfigError."""
    plain = launch.without_overridden(environ, chosen.settings)
    return load(chosen.config_path, plain, {**chosen.arguments, **chosen.settings}), plain


def prepare(
    chosen: Options, run: Path, environ: Mapping[str, str], asks_for_tokens: bool
) -> Tuple[TorchServeConfig, Dict[str, str]]:
    """Writes the derived config.properties into ``run``; what it comes to, and the environment that belongs to it.

    Raises:
        ConfigError: the file or a setting is wrong.
    """
    asked, plain = ask(chosen, environ)
    overrides = derived_config.overrides(asked, chosen.expose, asks_for_tokens, Path.cwd())
    derived = run / "config.properties"
    derived.write_text(derived_config.derive(chosen.config_path, overrides), encoding="latin-1")
    kept = launch.without_overridden(plain, overrides)
    return load(derived, kept), kept


def _check_length(run: Path) -> None:
    """Raises ConfigError where the workers' sockets in the directory would have names that the kernel does not take."""
    if len(os.fsencode(run / "tmp" / _SOCKET)) > _LONGEST_SOCKET:
        raise properties.ConfigError(
            f"the directory for temporary files, {run.parent}, has too long a name for the workers' sockets: at most "
            f"{_LONGEST_SOCKET} bytes with theirs. Set TEMP to a shorter one."
        )


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Entry point; see ``--help``."""
    chosen = options.parse(sys.argv[1:] if argv is None else argv, os.environ)
    base = os.environ.get("TEMP") or None
    try:
        run = Path(tempfile.mkdtemp(prefix="ts-kserve-", dir=base))
    except OSError as error:
        say(f"no place for temporary files in {base or tempfile.gettempdir()}: {error.strerror}. Set TEMP to one.")
        return 2
    # Until there is anything to drain, what asks it to end ends it: as process 1 it would be deaf without a handler.
    former = signal.signal(signal.SIGTERM, _leave)
    try:
        _check_length(run)
        return _supervise(chosen, run)
    except properties.ConfigError as error:
        say(str(error))
        return 2
    finally:
        signal.signal(signal.SIGTERM, former)
        shutil.rmtree(run, ignore_errors=True)


def _leave(number: int, frame: Optional[FrameType]) -> None:
    say(f"{signal.Signals(number).name}: stopped before anything was started")
    raise SystemExit(0)


def _supervise(chosen: Options, run: Path) -> int:
    # Exits where the wrapper would refuse its flags.
    flags = WrapperFlags(chosen.wrapper, os.environ)
    installation, runtime = launch.find_torchserve(), java.find(os.environ)
    config, environ = prepare(chosen, run, os.environ, installation.asks_for_tokens)
    tokened = installation.asks_for_tokens and not config.disable_token_authorization
    ports = flags.ports()
    findings = checks.findings(ask(chosen, os.environ)[0])
    found = checks.problems(config, ports) + [
        str(finding) for finding in findings if finding.severity is Severity.ERROR
    ]
    for problem in found:
        say(problem)
    for finding in findings:
        if finding.severity is Severity.WARNING:
            say(str(finding))
    for passed in runtime.passed_over:
        say(f"note: {passed}; Java {runtime.version} from {runtime.origin} is taken instead")
    if found or chosen.check:
        say("nothing was started" if found else "all checks passed")
        return 2 if found else 0
    (run / "tmp").mkdir()
    log = derived_config.log_config(chosen.config_path, chosen.log_config)
    java_command = launch.command(runtime, installation, config, log, run)
    wrapper_command = [sys.executable, "-m", "kserve_wrapper", *chosen.wrapper, *flags.chosen_ports(ports)]
    become_reaper()
    torchserve = Child("TorchServe", java_command, launch.environment(environ, runtime), run)
    wrapper = Child("the wrapper", wrapper_command, _wrapper_environment(chosen, environ, run, tokened))
    _introduce(torchserve, wrapper, config, runtime, tokened, ports)
    probe = Probe(flags.host(), ports["http_port"], flags.tls(), chosen.hang_limit)
    return Supervisor(torchserve, wrapper, probe, chosen.drain_timeout, flags.drain_delay()).run()


def _wrapper_environment(chosen: Options, environ: Mapping[str, str], run: Path, tokened: bool) -> Dict[str, str]:
    return {
        "TS_KSERVE_GONE_LIMIT": f"{chosen.hang_limit:g}",
        **environ,
        # Connections get a moment to close after the last answer.
        "TS_KSERVE_DRAIN_TIMEOUT": f"{max(0.5, chosen.drain_timeout - _reserve(chosen.drain_timeout) - 2):g}",
        "CONFIG_PATH": str(run / "config.properties"),
        log_records.VARIABLE: str(run / log_records.NAME),
        tokens.VARIABLE: str(run / tokens.NAME) if tokened else "",
    }


def _introduce(
    torchserve: Child,
    wrapper: Child,
    config: TorchServeConfig,
    runtime: java.Java,
    tokened: bool,
    ports: Mapping[str, int],
) -> None:
    say(
        f"TorchServe is process {torchserve.pid}: inference {config.inference}, management {config.management}, "
        f"metrics {config.metrics}; Java {runtime.version} from {runtime.origin}; "
        f"token authorization {'on' if tokened else 'off'}"
    )
    http_port, grpc_port = ports.values()
    say(f"the wrapper is process {wrapper.pid}: HTTP port {http_port}, gRPC port {grpc_port}")
