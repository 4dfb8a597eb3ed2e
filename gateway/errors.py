"""What can go wrong with a request, each as the HTTP status and the code that the caller sees.

    GatewayError
    ├── InvalidDrawing        400  what was sent is not a drawing
    ├── VersionNotServed      404  no model server has the version asked for
    ├── DrawingTooLarge       413  more than one request may hold
    ├── UnsupportedContent    415  neither JSON nor said to be
    ├── Busy                  429  as many predictions in flight as are allowed
    ├── BadModelReply         502  the model server's reply is not one of our model's
    ├── ServingUnavailable    503  no model server takes the request
    └── ServingTimeout        504  no reply within the time given

Foreign errors (grpc, json, Pillow) become one of these where they enter, with `raise … from`.
"""

from http import HTTPStatus

RETRY_AFTER_S = 1  # for what may be over soon: a model server that restarts takes about a second


class GatewayError(Exception):
    """A request that brings no answer. The text is for the caller; `detail` is for the log alone."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    code = "internal"
    retry_after_s: int | None = None

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class InvalidDrawing(GatewayError):
    """What was sent is not a drawing: names the field, the value found and the value wanted."""

    status = HTTPStatus.BAD_REQUEST
    code = "invalid_drawing"


class VersionNotServed(GatewayError):
    """No model server has the version that was asked for."""

    status = HTTPStatus.NOT_FOUND
    code = "version_not_served"


class DrawingTooLarge(GatewayError):
    """More bytes, points or pixels than one request may hold."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "drawing_too_large"


class UnsupportedContent(GatewayError):
    """The content type is not JSON."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    code = "unsupported_content_type"


class Busy(GatewayError):
    """As many predictions are in flight as this gateway allows."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "busy"
    retry_after_s = RETRY_AFTER_S


class BadModelReply(GatewayError):
    """The model server replied, but not as our model does; no digit is made of it."""

    status = HTTPStatus.BAD_GATEWAY
    code = "bad_model_reply"


class ServingUnavailable(GatewayError):
    """No model server takes the request: none is there, or none has a version of the model."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "model_unavailable"
    retry_after_s = RETRY_AFTER_S


class ServingTimeout(GatewayError):
    """The model server did not reply within the time given."""

    status = HTTPStatus.GATEWAY_TIMEOUT
    code = "model_timeout"
    retry_after_s = RETRY_AFTER_S
