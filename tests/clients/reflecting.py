"""What grpcurl does, in Python: asks the server for its description, and speaks JSON with it.

A program of its own, as it knows no generated messages: `python -m tests.clients.reflecting ADDRESS METHOD < JSON`.
"""

from __future__ import annotations

import sys

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def call(address: str, method: str, text: str) -> str:
    """The answer's JSON. Raises grpc.RpcError."""
    service, _, name = method.rpartition(".")
    with grpc.insecure_channel(address) as channel:
        described = DescriptorPool(ProtoReflectionDescriptorDatabase(channel)).FindServiceByName(service)
        rpc = described.methods_by_name[name]
        request = json_format.Parse(text or "{}", message_factory.GetMessageClass(rpc.input_type)())
        answer = channel.unary_unary(
            f"/{service}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(rpc.output_type).FromString,
        )
        return str(json_format.MessageToJson(answer(request, timeout=60)))


if __name__ == "__main__":
    print(call(sys.argv[1], sys.argv[2], sys.stdin.read()))
