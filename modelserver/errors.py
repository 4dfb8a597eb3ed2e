"""The one error of this program: a status as TensorFlow Serving would report it."""

from pynumdraw.wire import serving_pb2


class StatusError(Exception):
    """A call or a load failed with this code of `tensorflow.error.Code`, which is also the gRPC code, and this message."""

    def __init__(self, code: serving_pb2.Code, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message

    def __str__(self) -> str:
        return f"{serving_pb2.Code.Name(self.code)}: {self.message}"


def not_found(message: str) -> StatusError:
    return StatusError(serving_pb2.NOT_FOUND, message)


def invalid(message: str) -> StatusError:
    return StatusError(serving_pb2.INVALID_ARGUMENT, message)


def unimplemented(message: str) -> StatusError:
    return StatusError(serving_pb2.UNIMPLEMENTED, message)
