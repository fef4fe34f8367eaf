"""Write the YOLOv5s network as ONNX with seeded random weights: `python write_yolov5.py yolov5s.onnx`."""

import sys
from pathlib import Path

from trtreg.onnx_models.synthesis import write_yolov5

write_yolov5(Path(sys.argv[1]))
