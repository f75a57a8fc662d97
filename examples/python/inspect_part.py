"""A verdict without blemish: python inspect_part.py part-onnx image.png"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort

folder, file = Path(sys.argv[1]), sys.argv[2]
told = json.loads((folder / "description.json").read_text(encoding="utf-8"))
simple = told["resize"]["interpolation"] == "area" and told["resize"]["fit"] == "stretch"
if not simple or told["tiles"]:
    sys.exit("this example knows neither padding nor tiles: see description.json for the rule")

image = cv2.imread(file, cv2.IMREAD_UNCHANGED)
if image is None:
    sys.exit(f"{file} cannot be read")
image = image if image.ndim == 3 else image[..., None]
image = image[..., 2::-1] if image.shape[2] >= 3 else image[..., :1]  # OpenCV's order is blue first
height, width = told["resize"]["size"]
small = (min(width, image.shape[1]), min(height, image.shape[0]))
pixels = cv2.resize(cv2.resize(image, small, interpolation=cv2.INTER_AREA), (width, height),
                    interpolation=cv2.INTER_CUBIC)  # fmt: skip
white = told["input"]["white"]["8 bit" if image.dtype == np.uint8 else "16 bit"]
scaled = np.minimum(pixels.reshape(height, width, -1).astype(np.float32) / white, 1)
given = np.broadcast_to(scaled.transpose(2, 0, 1)[None], (1, 3, height, width))

graph = ort.InferenceSession(folder / "graph.onnx", providers=["CPUExecutionProvider"])
grid = graph.run(["map"], {"image": np.ascontiguousarray(given)})[0]
odd = cv2.resize(grid, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
for box in told["map"]["boxes"]:
    for _ in range(box["passes"]):
        odd = cv2.boxFilter(odd, -1, (box["width_px"],) * 2, borderType=cv2.BORDER_CONSTANT)
count = max(1, int(odd.size * told["score"]["top"]))
score = float(np.sort(odd.ravel())[-count:].mean(dtype=np.float64))
scores = np.array(told["p_value"]["scores"])
p_value = (1 + int((scores >= score).sum())) / (1 + len(scores))
print("defect" if score > told["verdict"]["threshold"] else "good", score, p_value)
