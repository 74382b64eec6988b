"""The JSON of the Open Inference Protocol, as far as this server speaks it.

A request is checked against these as it is parsed: what the OpenAPI page says is what holds.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

MAX_PICTURES = 64  # in one request

OutputName = Literal["probabilities", "logits", "labels"]
OUTPUTS: tuple[OutputName, ...] = get_args(OutputName)
LARGEST = 2**31  # numbers beyond it are no sizes of anything that fits into a request
Side = Annotated[int, Field(ge=1, le=LARGEST)]

_BYTE = {"type": "integer", "minimum": 0, "maximum": 255}
_DATA = {
    "description": "N*H*W*3 numbers in row-major order, flat, or nested as `shape` says; or none "
    "here but as many bytes after the JSON, with the parameter `binary_data_size`",
    "anyOf": [
        {"type": "array", "items": _BYTE},
        {
            "type": "array",
            "items": {
                "type": "array",
                "items": {"type": "array", "items": {"type": "array", "items": _BYTE}},
            },
        },
    ],
}


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)


class RequestParameters(_Strict):
    """Of a whole request; what isn't named here is ignored."""

    binary_data_output: bool = Field(
        default=False, description="outputs come as bytes unless they say otherwise"
    )


class InputParameters(_Strict):
    """Of an input tensor."""

    model_config = ConfigDict(strict=True, extra="allow")

    binary_data_size: int | None = Field(
        default=None, ge=0, le=LARGEST, description="bytes of this tensor, which follow the JSON"
    )


class OutputParameters(_Strict):
    """Of an output that is asked for."""

    model_config = ConfigDict(strict=True, extra="allow")

    binary_data: bool | None = Field(
        default=None, description="as bytes after the answer's JSON, or as numbers in it"
    )


class InputTensor(_Strict):
    """Pictures, of any size: their centre squares are resized to what the model sees."""

    name: Literal["images"]
    datatype: Literal["UINT8"]
    shape: tuple[Annotated[int, Field(ge=1, le=MAX_PICTURES)], Side, Side, Literal[3]] = Field(
        description="N pictures, H rows, W columns, RGB"
    )
    parameters: InputParameters | None = None
    data: list[Any] | None = Field(default=None, json_schema_extra=_DATA)  # type: ignore[arg-type]


class RequestedOutput(_Strict):
    """An output that is asked for."""

    name: OutputName
    parameters: OutputParameters | None = None


class InferenceRequest(_Strict):
    """Pictures to classify, and which outputs to answer with (default: all)."""

    id: str | None = Field(default=None, description="comes back in the answer")
    parameters: RequestParameters | None = None
    inputs: list[InputTensor] = Field(min_length=1, max_length=1)
    outputs: list[RequestedOutput] | None = Field(default=None, max_length=len(OUTPUTS))


class OutputTensor(BaseModel):
    """An output: FP32 numbers in row-major order, or labels."""

    name: OutputName
    datatype: Literal["FP32", "BYTES"]
    shape: list[int] = Field(description="[N, classes]; of labels [N]")
    parameters: dict[str, int] | None = Field(
        default=None, description="`binary_data_size`, where the data follow the JSON"
    )
    data: list[float] | list[str] | None = None


class InferenceResponse(BaseModel):
    """What a model says of the pictures."""

    model_name: str
    id: str | None = Field(default=None, description="of the request, if it had one")
    outputs: list[OutputTensor]


class TensorDescription(BaseModel):
    """An input or an output of a model; -1 is any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """What a model takes and gives."""

    name: str
    platform: str
    inputs: list[TensorDescription]
    outputs: list[TensorDescription]


class ServerMetadata(BaseModel):
    """This server, and what it knows beyond the protocol."""

    name: str
    version: str
    extensions: list[str]


class Live(BaseModel):
    """Whether the server lives."""

    live: bool


class Ready(Live):
    """Whether an inference would be answered now."""

    ready: bool


class ModelReady(BaseModel):
    """Whether a model would answer now."""

    name: str
    ready: bool


class InferenceError(BaseModel):
    """An error as the protocol has it, with a code beside the words."""

    error: str = Field(description="for people: what was wrong and what to send")
    code: str = Field(examples=["invalid_request"], description="for machines; stable")
