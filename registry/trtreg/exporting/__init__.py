"""Programs of other frameworks into ONNX; used in the child process only."""
