"""V2 over gRPC: inference.GRPCInferenceService, grpc.health.v1 and reflection."""
