"""The signatures of a version, in which the trainer writes, the store refuses others, and the gateway reads."""

SIGNATURE_VERSION = 2  # raised whenever SIGNATURES change; a gateway reads one version, and refuses a model of another

SIGNATURES = {
    "serving_default": (
        {"images": "DT_UINT8[?,28,28]"},
        {
            "probabilities": "DT_FLOAT[?,10]",
            "is_digit_probability": "DT_FLOAT[?]",
            "confidence": "DT_FLOAT[?]",
            "digit": "DT_INT64[?]",
            "runner_up": "DT_INT64[?]",
            "accepted": "DT_BOOL[?]",
            "ambiguous": "DT_BOOL[?]",
            "ink_version": "DT_INT64[?]",
        },
    ),
    "card": ({}, {"card": "DT_STRING[]"}),
}
"""Name → (inputs, outputs), each its type and shape by name; `?` is as many as there are images."""
