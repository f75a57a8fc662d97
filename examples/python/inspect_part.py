"""A verdict without blemish: python inspect_part.py part-onnx image.png (or .npy, channels last)"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort

folder, file = Path(sys.argv[1]), sys.argv[2]
told = json.loads((folder / "description.json").read_text(encoding="utf-8"))
entry, resize, part = told["input"], told["resize"], told["inspected"]
if resize["interpolation"] != "area" or resize["fit"] != "stretch" or told["tiles"]:
    sys.exit("this example knows neither padding nor tiles: see description.json for the rule")
image = np.load(file) if file.endswith(".npy") else cv2.imread(file, 6)  # any colour and depth
image = np.atleast_3d(image)[..., :: 1 if file.endswith(".npy") else -1]  # OpenCV's blue is first
if image.shape[2] not in entry["channels"] or image.dtype not in entry["types"]:
    sys.exit(f"{file} must be readable, of {entry['channels']} channels of {entry['types']}")
seen = cv2.imread(str(folder / part["file"]), 0) > 0 if part else np.ones(image.shape[:2], bool)
if part:  # an error if the sizes differ
    image = np.where(seen[..., None], image, np.array(part["blank"][str(image.dtype)], image.dtype))
if not (np.abs(image[seen]) < 1e30).all():
    sys.exit(f"{file} must hold measured numbers where it is inspected")
size, small = resize["size"][::-1], tuple(map(min, resize["size"][::-1], image.shape[1::-1]))
shrunk = [cv2.resize(one, small, interpolation=cv2.INTER_AREA) for one in cv2.split(image)]
fit = np.stack([cv2.resize(one, size, interpolation=cv2.INTER_CUBIC) for one in shrunk])
if entry["white"]:  # else the graph takes the image's own numbers
    fit = np.minimum(fit / entry["white"]["8 bit" if image.dtype == np.uint8 else "16 bit"], 1)
given = np.broadcast_to(fit, entry["shape"]).astype(np.float32)
grid = ort.InferenceSession(folder / "graph.onnx").run(["map"], {"image": given})[0]
odd = cv2.resize(grid, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
for width, passes in ((box["width_px"], box["passes"]) for box in told["map"]["boxes"]):
    for _ in range(passes):
        odd = cv2.boxFilter(odd, -1, (width, width), borderType=cv2.BORDER_CONSTANT)
count = max(1, int(odd[seen].size * told["score"]["top"]))
score = float(np.sort(odd[seen])[-count:].mean(dtype=np.float64))
scores = np.array(told["p_value"]["scores"])
p_value = (1 + int((scores >= score).sum())) / (1 + len(scores))
print("good" if score <= told["verdict"]["threshold"] else "defect", score, p_value)
