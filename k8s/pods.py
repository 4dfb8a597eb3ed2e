"""The state of a pod in words, from what the API server says about it."""

from dataclasses import dataclass

from kubernetes import client

VERSION_LABEL, TEMPLATE_LABEL = "pynumdraw/model-version", "pod-template-hash"
FATAL_WAITING_REASONS = frozenset(  # of a container that only a change of the release will start
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "RunContainerError",
    }
)
_MESSAGE_CHARACTERS = 600  # arbitrary: the end of a termination message, which may have 4,096 bytes
_LAST_WORDS = "Failed to start server"  # of TensorFlow Serving, on stdout: in the message, lines of stderr from before may follow them


@dataclass(frozen=True)
class Pod:
    """A pod of the release."""

    name: str
    node: str
    """Empty until it is scheduled."""
    template: str
    """Hash of the pod template that it was made from."""
    version: str
    """Version of the model, from its label; empty for other components."""
    state: str
    """ready, starting, waiting (for its version), training, loading, pending, failing, ending, succeeded or failed."""
    restarts: int
    reason: str | None
    """Why it is not ready, where that is known."""
    failed: bool
    """Whether it keeps failing, so that only a change of the release helps."""


@dataclass(frozen=True)
class PodState:
    """`state`, `reason` and `failed` as in Pod; `waiting_container` names the container whose log says what it waits for."""

    state: str
    reason: str | None = None
    failed: bool = False
    waiting_container: str | None = None


def pod_state(pod: client.V1Pod) -> PodState:
    """The state of a pod."""
    if pod.metadata.deletion_timestamp:
        return PodState("ending")
    if pod.status.phase in ("Succeeded", "Failed"):
        return PodState(pod.status.phase.lower(), failure_reason(pod), pod.status.phase == "Failed")
    conditions = {condition.type: condition for condition in pod.status.conditions or []}
    if "Ready" in conditions and conditions["Ready"].status == "True":
        return PodState("ready")
    scheduled = conditions.get("PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        return PodState("pending", scheduled.message)
    for status in container_statuses(pod):
        if not status.ready and (found := _container_state(pod, status)):
            return found
    return PodState("starting")


def _container_state(pod: client.V1Pod, status: client.V1ContainerStatus) -> PodState | None:
    """The pod's state where this container, which is not ready, determines it; None where the next one may."""
    waiting = status.state.waiting
    if waiting and waiting.reason in FATAL_WAITING_REASONS:
        return PodState("failing", f"{status.name}: {waiting.reason}: {waiting.message or ''}".strip(" :"), failed=True)
    if reason := failure_reason(pod, status.name):
        return PodState("failing", reason, failed=status.restart_count > 0)
    if status.state.running:
        if status.name == "fetch":
            return PodState("waiting", waiting_container=status.name)
        return PodState("training" if status.name == "trainer" else "loading")
    return None


def container_statuses(pod: client.V1Pod) -> list[client.V1ContainerStatus]:
    """The statuses of all containers of a pod, in the order in which they start."""
    return [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]


def failure_reason(pod: client.V1Pod, container: str | None = None) -> str | None:
    """Why a container (by default the first that did) failed: its termination message, else its exit code. None where none failed."""
    for status in container_statuses(pod):
        for state in (status.state, status.last_state):
            ended = state.terminated if state else None
            if container in (None, status.name) and ended and ended.exit_code:
                message = " ".join((ended.message or "").split())
                at = message.rfind(_LAST_WORDS)
                message = message[-_MESSAGE_CHARACTERS:] if at < 0 else message[at : at + _MESSAGE_CHARACTERS]
                return f"{status.name}: {message or f'{ended.reason}, exit code {ended.exit_code}'}"
    return None
