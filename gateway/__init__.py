"""The gateway: canvas JSON in, a calibrated answer out. Flask, gRPC to TensorFlow Serving, and no TensorFlow.

Imports point one way: __main__ → app → routes → drawing, serving, telemetry, page → settings, errors.
"""
