"""Every setting of the wrapper, once: flag, environment variable, unit, default and meaning."""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from typing import Any, List, Optional, Tuple

from kserve_wrapper.core.headers import HeaderPolicy

ENVIRONMENT_PREFIX = "TS_KSERVE_"
#: Rows of one upstream request where nothing says otherwise.
ROWS_PER_BATCH = 128


def option(
    default: Any, text: str, unit: str = "", env: Optional[str] = None, minimum: float = 0, dashes: bool = False
) -> Any:
    """A field that is a setting.

    Args:
        default: of the field's own type.
        text: what it does; ends up in --help.
        unit: of its value, for people.
        env: its environment variable where that is not the prefix and the name in capitals.
        minimum: the least number that makes sense.
        dashes: the flag is written with dashes, as KServe writes this one.
    """
    return field(
        default=default,
        metadata={"text": text, "unit": unit, "env": env, "minimum": minimum, "dashes": dashes},
    )


@dataclass(frozen=True)
class Settings:
    """Defaults are what a predictor gets that sets nothing. 0 turns a limit off."""

    config_path: str = option(
        "/mnt/models/config/config.properties", "TorchServe's configuration file", env="CONFIG_PATH"
    )
    host: str = option("0.0.0.0", "address that HTTP and gRPC listen at")
    http_port: int = option(8080, "port of HTTP; 0 takes a free one", "port")
    grpc_port: int = option(8081, "port of gRPC; 0 takes a free one", "port")
    enable_grpc: bool = option(True, "serve gRPC")
    workers: int = option(1, "server processes that share the ports; each batches for itself", "processes", minimum=1)
    compat: bool = option(False, "V2 inference answers with the stock runtime's names and forms (docs/migration.md)")
    torchserve_metrics: bool = option(True, "show TorchServe's metrics at /metrics behind the wrapper's own")
    enable_docs_url: bool = option(False, "serve the OpenAPI description at /openapi.json and /docs")

    request_timeout: float = option(60.0, "a request without an answer by then gets 504", "seconds")
    read_timeout: float = option(60.0, "a request that has not arrived as a whole by then gets 408", "seconds")
    timeout_keep_alive: int = option(
        65, "an idle HTTP connection is closed after this; keep it above the proxy's", "seconds", dashes=True
    )
    drain_delay: float = option(
        0.0, "after SIGTERM, not ready and still serving for this long, until requests go elsewhere", "seconds"
    )
    drain_timeout: float = option(30.0, "after that, requests in flight have this long to finish", "seconds")
    max_body_size: int = option(64 * 2**20, "larger HTTP bodies get 413", "bytes")
    max_header_size: int = option(32 * 2**10, "larger request lines and headers get 431", "bytes")
    max_bodies_size: int = option(
        256 * 2**20, "HTTP bodies that are being read, all together; further ones get 503", "bytes"
    )
    max_connections: int = option(4096, "HTTP connections at a time; further ones get 503", "connections")
    compress_from: int = option(
        0, "HTTP answers of this size and more are compressed for clients that accept it; 0 compresses none", "bytes"
    )
    cors_origins: Optional[str] = option(
        None, "origins whose web pages may call, with commas between, such as https://example.com; * for any"
    )
    max_rows: int = option(0, "requests with more rows get 413", "rows")
    grpc_max_receive_message_length: int = option(64 * 2**20, "larger gRPC requests are refused", "bytes")
    grpc_max_send_message_length: int = option(64 * 2**20, "larger gRPC replies are refused", "bytes")

    batching: bool = option(True, "let requests share upstream requests where the handler answers row by row")
    independent_rows: str = option(
        "", "models, separated by commas, whose handlers answer each row by itself although they do not tell so"
    )
    forward_headers: str = option(
        "", "request headers, separated by commas, that reach handlers although they are secrets, such as authorization"
    )
    rows_per_batch: int = option(
        0, f"rows that one upstream request carries; 0: what the handler found to pay, at most {ROWS_PER_BATCH}", "rows"
    )
    bytes_per_batch: int = option(4 * 2**20, "data that one upstream request carries", "bytes", minimum=1)
    reply_bytes_per_batch: int = option(4 * 2**20, "foreseen size of one upstream answer", "bytes", minimum=1)
    queued_requests: int = option(2048, "requests of one model that wait; further ones get 503", "requests", minimum=1)
    queued_rows: int = option(16384, "rows of one model that wait; further ones get 503", "rows", minimum=1)
    queued_bytes: int = option(256 * 2**20, "data of one model that waits; further one gets 503", "bytes", minimum=1)
    total_queued_bytes: int = option(
        512 * 2**20, "data of all models that waits; beside it, each model has room for one batch", "bytes", minimum=1
    )
    in_flight_per_worker: int = option(
        1, "upstream requests at a time per ready worker; one more may be pipelined", "requests", minimum=1
    )
    pipelining: bool = option(True, "one batch as large as those under way is at TorchServe before a worker wants it")

    start_limit: float = option(
        600.0, "startup grace period: live until TorchServe has answered and each model was ready once", "seconds"
    )
    gone_limit: float = option(60.0, "live while TorchServe does not answer, at most", "seconds")
    worker_limit: float = option(300.0, "live while a model has no worker, at most", "seconds")
    model_load_customized: bool = option(
        False, "a model is not ready before its handler described itself", env="MODEL_LOAD_CUSTOMIZED"
    )
    model_load_max_try: int = option(10, "times that a handler is asked for that", "times", env="MODEL_LOAD_MAX_TRY")
    model_load_delay: float = option(1.0, "retry delay", "seconds", env="MODEL_LOAD_DELAY")
    model_load_timeout: float = option(5.0, "how long to wait for its answer", "seconds", env="MODEL_LOAD_TIMEOUT")

    ssl_certfile: Optional[str] = option(None, "PEM certificate chain; turns on TLS for HTTP and gRPC")
    ssl_keyfile: Optional[str] = option(None, "PEM private key of --ssl_certfile")
    ssl_keyfile_password: Optional[str] = option(None, "password of --ssl_keyfile; HTTP only")
    ssl_ca_certs: Optional[str] = option(None, "PEM authorities; turns on the check of client certificates")

    configure_logging: bool = option(True, "set up logging; false leaves it to the environment")
    log_config_file: Optional[str] = option(None, "logging configuration, YAML or JSON (logging.config schema)")
    log_level: str = option("INFO", "least level that is logged")
    enable_latency_logging: bool = option(False, "log a line for each request")
    access_log_format: Optional[str] = option(
        None, "form of that line, such as '%%(h)s \"%%(r)s\" %%(s)s %%(D)s'; turns it on. Default: JSON"
    )

    def __post_init__(self) -> None:
        """Raises ValueError, with the flag's name, for numbers out of range and for half a TLS setting."""
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, (int, float)) and not value >= item.metadata["minimum"]:
                raise ValueError(f"{flag(item)} must be {item.metadata['minimum']} or more, not {value}")
        if 0 < self.max_bodies_size < self.max_body_size:
            raise ValueError(f"--max_bodies_size must be --max_body_size, {self.max_body_size}, or more")
        for name in ("http_port", "grpc_port"):
            if getattr(self, name) > 65535:
                raise ValueError(f"--{name} must be 65535 or less")
        if self.ssl_keyfile and not self.ssl_certfile:
            raise ValueError("--ssl_keyfile needs --ssl_certfile")
        if self.ssl_keyfile_password and self.enable_grpc:
            raise ValueError("--ssl_keyfile_password: gRPC reads no encrypted key; decrypt it, or --enable_grpc false")
        if self.enable_grpc and self.http_port == self.grpc_port != 0:
            raise ValueError("--http_port and --grpc_port must differ")
        try:
            HeaderPolicy(listed(self.forward_headers))
        except ValueError as error:
            raise ValueError(f"--forward_headers {self.forward_headers}: {error}; take it out") from None

    @property
    def batch_rows(self) -> int:
        """Most rows that a request may bring, or where that is any number, that go through a model at once."""
        return self.max_rows or self.rows_per_batch or ROWS_PER_BATCH

    @property
    def access_log(self) -> bool:
        return self.enable_latency_logging or self.access_log_format is not None


#: KServe's flags that mean nothing here, taken so that its command lines keep working.
IGNORED: Tuple[Tuple[str, str], ...] = (
    ("max_threads", "everything here runs in one event loop"),
    ("max_asyncio_workers", "everything here runs in one event loop"),
    ("event-loop", "uvloop"),
    ("model_name", "the models are TorchServe's"),
    ("predictor_host", "for transformers"),
    ("protocol", "all protocols are served"),
    ("predictor_protocol", "all protocols are served"),
    ("predictor_use_ssl", "for transformers"),
    ("predictor_request_timeout_seconds", "for transformers"),
    ("predictor_request_retries", "for transformers"),
    ("enable_predictor_health_check", "for transformers"),
)


def listed(text: str) -> List[str]:
    """The items of a setting that holds several, with commas between."""
    return [item.strip() for item in text.split(",") if item.strip()]


def options() -> List[Field[Any]]:
    """All settings, in the order of --help."""
    return list(fields(Settings))


def flag(item: Field[Any]) -> str:
    return "--" + (item.name.replace("_", "-") if item.metadata["dashes"] else item.name)


def variable(item: Field[Any]) -> str:
    """The setting's environment variable."""
    return str(item.metadata["env"] or ENVIRONMENT_PREFIX + item.name.upper())
