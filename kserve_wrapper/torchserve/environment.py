"""The environment variables that TorchServe reads where ``enable_envvars_config=true``.

Source: the fields of TorchServe's ConfigManager whose names begin with TS_ (0.12; 0.9 has fewer of them).
"""

from __future__ import annotations

from typing import Dict, Mapping

#: Properties whose variable is TS_ and the key in capitals …
_KEYS = """
debug inference_address management_address metrics_address load_models blacklist_env_vars
default_workers_per_model default_response_timeout default_startup_timeout unregister_model_timeout
number_of_netty_threads netty_client_threads job_queue_size number_of_gpu metrics_config
metrics_mode model_metrics_auto_detect disable_system_metrics ipex_enable cpu_launcher_enable
cpu_launcher_args ipex_gpu_enable async_logging cors_allowed_origin cors_allowed_methods
cors_allowed_headers decode_input_request keystore keystore_pass keystore_type certificate_file
private_key_file max_request_size max_response_size limit_max_image_pixels default_service_handler
service_envelope model_server_home model_store prefer_direct_buffer allowed_urls
install_py_dep_per_model enable_metrics_api grpc_inference_address grpc_management_address
grpc_inference_port grpc_management_port grpc_inference_max_connection_age_ms
grpc_management_max_connection_age_ms grpc_inference_max_connection_age_grace_ms
grpc_management_max_connection_age_grace_ms enable_grpc_ssl initial_worker_port
initial_distribution_port workflow_store cpp_log_config disable_token_authorization enable_model_api
"""
#: … and those that are named otherwise.
_RENAMED: Dict[str, str] = {
    "TS_OPEN_INFERENCE_PROTOCOL": "ts_open_inference_protocol",
    "TS_TOKEN_EXPIRATION_TIME_MIN": "token_expiration_min",
    "TS_HEADER_KEY_SEQUENCE_ID": "ts_header_key_sequence_id",
    "TS_HEADER_KEY_SEQUENCE_START": "ts_header_key_sequence_start",
    "TS_HEADER_KEY_SEQUENCE_END": "ts_header_key_sequence_end",
}
#: Variable → property.
ENVIRONMENT: Mapping[str, str] = {**{f"TS_{key.upper()}": key for key in _KEYS.split()}, **_RENAMED}
