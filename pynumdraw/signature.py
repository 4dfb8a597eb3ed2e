"""The signatures that every version has: the trainer writes them, the store takes no others, the gateway reads them."""

SIGNATURE_VERSION = 2  # raised whenever SIGNATURES change; `trainer gate` compares no others, the gateway looks at the outputs themselves

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
