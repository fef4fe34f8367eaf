"""Write pictures of coco128 as a sample for the gate and for calibration:  pictures.py DATA COUNT FILE.npz"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from detection import read_pictures

if __name__ == "__main__":
    data, count, file = sys.argv[1:]
    pictures = read_pictures(Path(data), int(count))
    cases = {f"case{number}/in/images": picture.tensor for number, picture in enumerate(pictures)}
    np.savez_compressed(file, **cases)  # type: ignore[arg-type]
