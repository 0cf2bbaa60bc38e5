"""Messages and calls of `inference.GRPCInferenceService`, as far as they are served.

Names and numbers are those of the Open Inference Protocol and of Triton's extensions to it.
"""

from typing import Final

from modelworks.protocol.oip_grpc.codec import Codec
from modelworks.protocol.oip_grpc.describing import (
    Enum,
    File,
    Message,
    Method,
    Service,
    Types,
    message,
)

SERVICE: Final = "inference.GRPCInferenceService"
_NAMED: Final = ("1 name string", "2 version string")
_PARAMETERS: Final = "parameters InferParameter%"
_REQUEST: Final = "inference.ModelInferRequest"
_RESPONSE: Final = "inference.ModelInferResponse"
_METADATA: Final = "inference.ModelMetadataResponse"


def _durations(first: int, *names: str) -> tuple[str, ...]:
    return tuple(f"{first + at} {name} StatisticDuration" for at, name in enumerate(names))


_COMPUTED: Final = ("compute_input", "compute_infer", "compute_output")

_MESSAGES: Final[tuple[Message, ...]] = (
    message("inference.ServerLiveRequest"),
    message("inference.ServerLiveResponse", "1 live bool"),
    message("inference.ServerReadyRequest"),
    message("inference.ServerReadyResponse", "1 ready bool"),
    message("inference.ModelReadyRequest", *_NAMED),
    message("inference.ModelReadyResponse", "1 ready bool"),
    message("inference.ServerMetadataRequest"),
    message("inference.ServerMetadataResponse", *_NAMED, "3 extensions string*"),
    message("inference.ModelMetadataRequest", *_NAMED),
    message(
        *(_METADATA, "1 name string", "2 versions string*", "3 platform string"),
        *("4 inputs .TensorMetadata*", "5 outputs .TensorMetadata*"),
    ),
    message(f"{_METADATA}.TensorMetadata", "1 name string", "2 datatype string", "3 shape int64*"),
    message(
        "inference.InferParameter",
        "1 bool_param bool (parameter_choice)",
        "2 int64_param int64 (parameter_choice)",
        "3 string_param string (parameter_choice)",
        "4 double_param double (parameter_choice)",
        "5 uint64_param uint64 (parameter_choice)",
    ),
    message(
        "inference.InferTensorContents",
        *("1 bool_contents bool*", "2 int_contents int32*", "3 int64_contents int64*"),
        *("4 uint_contents uint32*", "5 uint64_contents uint64*", "6 fp32_contents float*"),
        *("7 fp64_contents double*", "8 bytes_contents bytes*"),
    ),
    message(
        *(_REQUEST, "1 model_name string", "2 model_version string", "3 id string"),
        *(f"4 {_PARAMETERS}", "5 inputs .InferInputTensor*"),
        *("6 outputs .InferRequestedOutputTensor*", "7 raw_input_contents bytes*"),
    ),
    message(
        *(f"{_REQUEST}.InferInputTensor", "1 name string", "2 datatype string", "3 shape int64*"),
        *(f"4 {_PARAMETERS}", "5 contents InferTensorContents"),
    ),
    message(f"{_REQUEST}.InferRequestedOutputTensor", "1 name string", f"2 {_PARAMETERS}"),
    message(
        *(_RESPONSE, "1 model_name string", "2 model_version string", "3 id string"),
        *(f"4 {_PARAMETERS}", "5 outputs .InferOutputTensor*", "6 raw_output_contents bytes*"),
    ),
    message(
        *(f"{_RESPONSE}.InferOutputTensor", "1 name string", "2 datatype string"),
        *("3 shape int64*", f"4 {_PARAMETERS}", "5 contents InferTensorContents"),
    ),
    message(
        "inference.ModelStreamInferResponse",
        *("1 error_message string", "2 infer_response ModelInferResponse"),
    ),
    message("inference.ModelConfigRequest", *_NAMED),
    message("inference.ModelConfigResponse", "1 config ModelConfig"),
    message("inference.ModelStatisticsRequest", *_NAMED),
    message("inference.StatisticDuration", "1 count uint64", "2 ns uint64"),
    message(
        "inference.InferStatistics",
        *_durations(1, "success", "fail", "queue", *_COMPUTED, "cache_hit", "cache_miss"),
    ),
    message("inference.InferBatchStatistics", "1 batch_size uint64", *_durations(2, *_COMPUTED)),
    message("inference.MemoryUsage", "1 type string", "2 id int64", "3 byte_size uint64"),
    message(
        "inference.ModelStatistics",
        *(*_NAMED, "3 last_inference uint64", "4 inference_count uint64"),
        *("5 execution_count uint64", "6 inference_stats InferStatistics"),
        *("7 batch_stats InferBatchStatistics*", "8 memory_usage MemoryUsage*"),
    ),
    message("inference.ModelStatisticsResponse", "1 model_stats ModelStatistics*"),
    message(
        "inference.ModelRepositoryParameter",
        "1 bool_param bool (parameter_choice)",
        "2 int64_param int64 (parameter_choice)",
        "3 string_param string (parameter_choice)",
        "4 bytes_param bytes (parameter_choice)",
    ),
    message("inference.RepositoryIndexRequest", "1 repository_name string", "2 ready bool"),
    message("inference.RepositoryIndexResponse", "1 models .ModelIndex*"),
    message(
        "inference.RepositoryIndexResponse.ModelIndex",
        *(*_NAMED, "3 state string", "4 reason string"),
    ),
    *(
        each
        for verb in ("Load", "Unload")
        for each in (
            message(
                f"inference.RepositoryModel{verb}Request",
                *("1 repository_name string", "2 model_name string"),
                "3 parameters ModelRepositoryParameter%",
            ),
            message(f"inference.RepositoryModel{verb}Response"),
        )
    ),
    # What of Triton's model configuration means something here.
    message(
        "inference.ModelConfig",
        *("1 name string", "2 platform string", "17 backend string", "4 max_batch_size int32"),
        *("5 input ModelInput*", "6 output ModelOutput*"),
        "11 dynamic_batching ModelDynamicBatching (scheduling_choice)",
        *("7 instance_group ModelInstanceGroup*", "14 parameters ModelParameter%"),
    ),
    message("inference.ModelInput", "1 name string", "2 data_type DataType", "4 dims int64*"),
    message("inference.ModelOutput", "1 name string", "2 data_type DataType", "3 dims int64*"),
    message(
        "inference.ModelInstanceGroup",
        *("1 name string", "4 kind ModelInstanceGroup.Kind", "2 count int32"),
    ),
    message("inference.ModelParameter", "1 string_value string"),
    message(
        "inference.ModelDynamicBatching",
        *("2 max_queue_delay_microseconds uint64", "4 priority_levels uint64"),
        *("5 default_priority_level uint64", "6 default_queue_policy ModelQueuePolicy"),
    ),
    message(
        "inference.ModelQueuePolicy",
        "1 timeout_action ModelQueuePolicy.TimeoutAction",
        "2 default_timeout_microseconds uint64",
        "3 allow_timeout_override bool",
        "4 max_queue_size uint32",
    ),
)
_ENUMS: Final = (
    Enum(
        "inference.DataType",
        tuple(
            f"TYPE_{kind}"
            for kind in (
                *("INVALID", "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16"),
                *("INT32", "INT64", "FP16", "FP32", "FP64", "STRING", "BF16"),
            )
        ),
    ),
    Enum("inference.ModelInstanceGroup.Kind", ("KIND_AUTO", "KIND_GPU", "KIND_CPU", "KIND_MODEL")),
    Enum("inference.ModelQueuePolicy.TimeoutAction", ("REJECT", "DELAY")),
)
_UNARY: Final = (
    *("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer"),
    *("ModelConfig", "ModelStatistics", "RepositoryIndex"),
    *("RepositoryModelLoad", "RepositoryModelUnload"),
)
_STREAM: Final = Method(
    *("ModelStreamInfer", _REQUEST, "inference.ModelStreamInferResponse"),
    takes_many=True,
    gives_many=True,
)
FILE: Final = File(
    "grpc_service.proto",
    "inference",
    _MESSAGES,
    _ENUMS,
    (
        Service(
            SERVICE,
            (
                *(
                    Method(name, f"inference.{name}Request", f"inference.{name}Response")
                    for name in _UNARY
                ),
                _STREAM,
            ),
        ),
    ),
)
CODEC: Final = Codec(Types(FILE))
