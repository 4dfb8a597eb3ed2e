"""The gateway's errors, each with the HTTP status and the code that the caller gets.

    GatewayError
    ├── InvalidDrawing        400  the body is not a drawing
    ├── VersionNotServed      404  no model server has the requested version
    ├── DrawingTooLarge       413  the body, the strokes or the picture exceed a limit
    ├── UnsupportedContent    415  the content type is not JSON
    ├── Busy                  429  the limit of drawings, large bodies or slow work at a time is reached
    ├── ClientLeft            499  the client has closed its connection; nobody reads the answer
    ├── BadModelReply         502  the model server's reply does not fit our model
    ├── ServingUnavailable    503  no model server takes the request
    └── ServingTimeout        504  the model server did not reply in time

Errors of grpc, json and Pillow are translated to one of these where they occur, with `raise … from`.
"""

from http import HTTPStatus
from typing import Any

RETRY_AFTER_S = 1  # a model server takes about a second to restart


def error_body(code: str, message: str, request_id: str) -> dict[str, Any]:
    """The JSON of every error, whoever answers it."""
    return {"error": {"code": code, "message": message, "request_id": request_id}}


class GatewayError(Exception):
    """A request failed. The message is for the caller, `detail` for the log only."""

    status: int = HTTPStatus.INTERNAL_SERVER_ERROR
    code = "internal"
    retry_after_s: int | None = None

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class InvalidDrawing(GatewayError):
    """The body is not a drawing; the message names the field, the value found and the value wanted."""

    status = HTTPStatus.BAD_REQUEST
    code = "invalid_drawing"


class VersionNotServed(GatewayError):
    """No model server has the requested version."""

    status = HTTPStatus.NOT_FOUND
    code = "version_not_served"


class DrawingTooLarge(GatewayError):
    """The request has more bytes, points or pixels than allowed."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "drawing_too_large"


class UnsupportedContent(GatewayError):
    """The content type is not JSON."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    code = "unsupported_content_type"


class Busy(GatewayError):
    """The limit of predictions in flight is reached."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "busy"
    retry_after_s = RETRY_AFTER_S


class ClientLeft(GatewayError):
    """The client has closed its connection, and what was to be done for it is not. The status is for log and metrics: nginx's."""

    status = 499
    code = "client_left"


class BadModelReply(GatewayError):
    """The model server's reply does not fit our model, so no digit is read from it."""

    status = HTTPStatus.BAD_GATEWAY
    code = "bad_model_reply"


class ServingUnavailable(GatewayError):
    """No model server takes the request: none is reachable, or none has a version of the model."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "model_unavailable"
    retry_after_s = RETRY_AFTER_S


class ServingTimeout(GatewayError):
    """The model server did not reply in time."""

    status = HTTPStatus.GATEWAY_TIMEOUT
    code = "model_timeout"
    retry_after_s = RETRY_AFTER_S
