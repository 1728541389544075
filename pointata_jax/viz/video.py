"""Point-cloud videos as an HTML page that needs no network: turn, play, switch classes off.

The player draws on a plain 2-D canvas. Of 150 frames of 8,192 points, headless Chromium without a
graphics card redrew 60 a second (its limit), against 15 with k3d and 1.4 with plotly, whose copies
in the page take 2.6 and 4.8 MB. A canvas also works where a browser has no WebGL, and any number
of clips fit on a page.
"""

from __future__ import annotations

import base64
import colorsys
import hashlib
import html
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from pointata_jax.data.clips import AXES
from pointata_jax.errors import InputError
from pointata_jax.viz.look import COLORS

MOST_CLASSES = 255
"""Largest number of classes in one clip."""

_STEPS = 32767  # From the middle of the clip to its side, in the int16 numbers of the page.
_NO_LABEL = 255
_HEIGHTS = ("#440154", "#3b528b", "#21918c", "#5ec962", "#b5de2b")  # viridis, low to high

# Axes that point to the right, up and away from the viewer, by the axis that points up.
_VIEWS = {"x": (1, 0, 2), "y": (0, 1, 2), "z": (0, 2, 1)}

Labels = Sequence[Any] | np.ndarray | None
"""No labels, one integer per frame `[T]`, or one array of integers `[n]` for each frame."""


def video_html(
    frames: Sequence[np.ndarray] | np.ndarray,
    path: str | os.PathLike,
    *,
    labels: Labels = None,
    class_names: Sequence[str] = (),
    errors: Sequence[np.ndarray] | np.ndarray | None = None,
    title: str = "",
    times: Sequence[float] | np.ndarray | None = None,
    up_axis: str = "y",
    seconds_per_frame: float = 0.1,
) -> None:
    """Writes a clip as one HTML file that plays in a browser and loads nothing else.

    Args:
      frames: T frames `[n, 3+C]`, in any unit. Columns after the third are not shown. Coordinates
        are stored in 65,535 steps along the longest side of the clip.
      path: the file. Its folder is made if it does not exist.
      labels: None, the color then shows the height; one class per frame `[T]`; or one class per
        point, an array `[n]` for each frame. Negative labels mean that there is none.
      class_names: names of the classes; empty: they are numbered.
      errors: for each frame, which points `[n]` to mark as wrong.
      title: text above the clip.
      times: time of each frame in seconds, shown beside the slider. It does not set the pace.
      up_axis: "x", "y" or "z". With y up, z points away from the viewer, as in a depth camera.
      seconds_per_frame: the pace of playing.

    Raises:
      InputError: no frames or points, coordinates that are not finite, labels, errors or times that
        do not fit the frames, or a file that cannot be written.
    """
    clip = video_fragment(
        frames,
        labels=labels,
        class_names=class_names,
        errors=errors,
        title=title,
        times=times,
        up_axis=up_axis,
        seconds_per_frame=seconds_per_frame,
    )
    write_page(path, title or "Point-cloud video", f'<main class="one-clip">{clip}</main>')


def video_fragment(
    frames: Sequence[np.ndarray] | np.ndarray,
    *,
    labels: Labels = None,
    class_names: Sequence[str] = (),
    errors: Sequence[np.ndarray] | np.ndarray | None = None,
    title: str = "",
    times: Sequence[float] | np.ndarray | None = None,
    up_axis: str = "y",
    seconds_per_frame: float = 0.1,
) -> str:
    """The HTML of one clip, for the body of `write_page`, which adds the player once for all clips.

    Args and errors are those of `video_html`.
    """
    if up_axis not in _VIEWS:
        raise InputError(f"up_axis is {up_axis!r}; use 'x', 'y' or 'z'.")
    if not seconds_per_frame > 0:
        raise InputError(f"seconds_per_frame is {seconds_per_frame}; give a positive number.")
    clouds = _clouds(frames)
    counts = [len(cloud) for cloud in clouds]
    points = np.concatenate(clouds).astype(np.float64)
    low, high = points.min(0), points.max(0)
    step = float((high - low).max() / 2 / _STEPS) or 1.0
    view = list(_VIEWS[up_axis])
    stored = np.round((points - (low + high) / 2) / step)[:, view].astype("<i2")
    clip: dict[str, Any] = {
        "counts": counts,
        "points": _packed(stored),
        "sides": ((high - low) / 2 / step)[view].tolist(),
        "axes": [f"{AXES[axis]}: {low[axis]:.3g} to {high[axis]:.3g}" for axis in view],
        "pace": float(seconds_per_frame),
        "heights": _HEIGHTS,
    }
    if times is not None:
        clip["times"] = [float(time) for time in times]
        if len(clip["times"]) != len(counts) or not np.isfinite(clip["times"]).all():
            raise InputError(f"times must be {len(counts)} finite numbers, one for each frame.")
    if errors is not None:
        wrong = _by_point("errors", errors, counts)
        if wrong.dtype != bool:
            raise InputError(f"errors must be booleans, they are {wrong.dtype}.")
        clip["wrong"] = _packed(wrong.astype(np.uint8))
    if labels is not None:
        clip |= _classes(labels, counts, class_names)
    # As text of a script element, "<" must not begin a tag.
    data = json.dumps(clip, separators=(",", ":")).replace("<", "\\u003c")
    caption = f"<figcaption>{html.escape(title)}</figcaption>" if title else ""
    return (
        f'<figure class="cloud-clip">{caption}<canvas class="cloud" role="img" '
        f'aria-label="{html.escape(title or "point cloud")}" title="drag: turn; Ctrl + wheel: '
        'zoom; double click: first view"></canvas><div class="cloud-bar"><button type="button">'
        f'Play</button><input type="range" min="0" max="{len(counts) - 1}" value="0" '
        'aria-label="frame"></div><canvas class="cloud-line" hidden></canvas>'
        '<output></output><div class="cloud-legend"></div>'
        f'<script type="application/json">{data}</script></figure>'
    )


def write_page(path: str | os.PathLike, title: str, body: str, style: str = "") -> None:
    """Writes an HTML page with the player of clips.

    The page forbids the browser to load anything and to run any script but the player.

    Args:
      path: the file. Its folder is made if it does not exist.
      title: of the window, as plain text.
      body: HTML, with any number of `video_fragment`.
      style: further CSS.

    Raises:
      InputError: the file cannot be written.
    """
    digest = base64.b64encode(hashlib.sha256(_PLAYER.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:"
    )
    page = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}{style}</style></head>\n"
        f"<body>{body}<script>{_PLAYER}</script></body></html>\n"
    )
    file = pathlib.Path(path)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{file} cannot be written ({error.strerror or error}); choose another path."
        ) from error


def class_color(label: int) -> str:
    """The color of a class as "#rrggbb". The first eight are those of `viz.look`."""
    if label < len(COLORS):
        return COLORS[label]
    # The golden ratio keeps the hues of neighbors apart.
    turn = 0.618034 * (label - len(COLORS))
    lightness = (0.35, 0.55, 0.7)[label % 3]
    red, green, blue = colorsys.hls_to_rgb(turn % 1.0, lightness, 0.65)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def _clouds(frames: Sequence[np.ndarray] | np.ndarray) -> list[np.ndarray]:
    """The coordinates `[n, 3]` of each frame."""
    clouds = [np.asarray(frame) for frame in frames]
    if not sum(map(len, clouds)):
        raise InputError("There are no points to draw; give at least one frame with points.")
    for index, cloud in enumerate(clouds):
        if cloud.ndim != 2 or cloud.shape[1] < 3:
            raise InputError(f"frame {index} is {cloud.shape}; it must be [n, 3] or wider.")
        if not np.isfinite(cloud[:, :3]).all():
            raise InputError(
                f"frame {index} holds coordinates that are not finite; leave these points out."
            )
    return [cloud[:, :3] for cloud in clouds]


def _classes(labels: Any, counts: Sequence[int], class_names: Sequence[str]) -> dict[str, Any]:
    """What the page holds of the labels: the classes that occur, and their place per unit."""
    by_frame = len(labels) > 0 and np.ndim(labels[0]) == 0
    values = np.asarray(labels) if by_frame else _by_point("labels", labels, counts)
    if by_frame and len(values) != len(counts):
        raise InputError(f"There are {len(values)} labels for {len(counts)} frames.")
    if values.dtype.kind not in "iu":
        raise InputError(f"labels must be integers, they are {values.dtype}.")
    used = np.unique(values[values >= 0])
    if len(used) > MOST_CLASSES:
        raise InputError(f"The clip has {len(used)} classes; at most {MOST_CLASSES} can be shown.")
    if len(class_names) and len(used) and used[-1] >= len(class_names):
        raise InputError(
            f"labels hold the class {used[-1]}, but there are {len(class_names)} class names."
        )
    places = np.where(values >= 0, np.searchsorted(used, values), _NO_LABEL).astype(np.uint8)
    names = [str(class_names[k]) if len(class_names) else f"class {k}" for k in used]
    return {
        "names": names,
        "colors": [class_color(int(k)) for k in used],
        "frameLabels" if by_frame else "labels": _packed(places),
    }


def _by_point(what: str, values: Any, counts: Sequence[int]) -> np.ndarray:
    """The values of all points in one axis."""
    arrays = [np.asarray(array) for array in values]
    if [array.shape for array in arrays] != [(count,) for count in counts]:
        raise InputError(f"{what} must hold one value for each point of each frame.")
    return np.concatenate(arrays)


def _packed(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()


_STYLE = """
body { margin: 0; background: #fff; color: #222; font: 16px/1.5 system-ui, sans-serif; }
.one-clip { max-width: 860px; margin: 0 auto; padding: 16px; }
.cloud-clip { margin: 0; min-width: 0; }
.cloud-clip figcaption { font-weight: 600; overflow-wrap: anywhere; }
.cloud { display: block; width: 100%; aspect-ratio: 4 / 3; max-height: 75vh; cursor: grab;
  touch-action: pan-y; }
.cloud-bar { display: flex; gap: 8px; align-items: center; }
.cloud-bar button { font: inherit; font-size: 14px; width: 4.5em; padding: 2px 0; color: inherit;
  border: 1px solid #bbb; border-radius: 4px; background: #f6f6f6; cursor: pointer; }
.cloud-bar input { flex: 1; min-width: 0; accent-color: #0072b2; }
.cloud-line { display: block; width: 100%; height: 10px; margin-top: 4px; }
.cloud-line[hidden] { display: none; }
.cloud-clip output { display: block; font-size: 14px; color: #555; min-height: 1.5em;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.cloud-legend { display: flex; flex-wrap: wrap; gap: 2px 12px; }
.cloud-legend button { font: inherit; font-size: 14px; padding: 0; border: 0; background: none;
  color: inherit; cursor: pointer; text-align: left; overflow-wrap: anywhere; }
.cloud-legend i { display: inline-block; width: 10px; height: 10px; border-radius: 50%;
  margin-right: 5px; border: 2px solid transparent; box-sizing: border-box; }
.cloud-legend button[aria-pressed=false] { opacity: .4; text-decoration: line-through; }
@media print { .cloud-bar { display: none; } .cloud-clip { break-inside: avoid; } }
"""

_PLAYER = """
"use strict";
for (const figure of document.querySelectorAll(".cloud-clip")) play(figure);

function play(figure) {
  const clip = JSON.parse(figure.querySelector("script").textContent);
  const [canvas, line] = figure.querySelectorAll("canvas");
  const slider = figure.querySelector("input"), caption = figure.querySelector("output");
  const button = figure.querySelector("button"), legend = figure.querySelector(".cloud-legend");
  const bytes = (text) => {
    const found = atob(text || ""), array = new Uint8Array(found.length);
    for (let i = 0; i < array.length; i++) array[i] = found.charCodeAt(i);
    return array;
  };
  const starts = [0];
  for (const count of clip.counts) starts.push(starts[starts.length - 1] + count);
  const half = Math.hypot(...clip.sides) || 1;
  const points = Float32Array.from(new Int16Array(bytes(clip.points).buffer), (v) => v / half);
  const wrong = bytes(clip.wrong), frameLabels = bytes(clip.frameLabels);
  const labels = clip.labels ? bytes(clip.labels) : new Uint8Array(points.length / 3);
  const NONE = 255, SHADES = 16;

  // Without classes, the color is one of 32 heights.
  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  let colors = (clip.colors || []).map(rgb);
  if (clip.frameLabels) {
    for (let t = 0; t < frameLabels.length; t++)
      labels.fill(frameLabels[t], starts[t], starts[t + 1]);
  } else if (!clip.labels) {
    const stops = clip.heights.map(rgb), side = clip.sides[1] / half || 1;
    colors = Array.from({ length: 32 }, (_, k) => {
      const at = (k / 31) * (stops.length - 1), low = Math.min(stops.length - 2, at | 0);
      return stops[low].map((v, c) => v + (at - low) * (stops[low + 1][c] - v));
    });
    for (let i = 0; i < labels.length; i++)
      labels[i] = Math.max(0, Math.min(31, (points[3 * i + 1] / side + 1) * 16));
  }
  colors[NONE] = [190, 190, 190];
  // Pixels (little-endian RGBA) of each color, paler with the distance.
  const pixel = (color, fade) =>
    color.reduce((sum, v, c) => sum | ((v + fade * (255 - v)) & 255) << (8 * c), 255 << 24);
  const pixels = new Int32Array(256 * SHADES), red = pixel([220, 20, 60], 0);
  colors.forEach((color, k) => {
    for (let s = 0; s < SHADES; s++) pixels[k * SHADES + s] = pixel(color, 0.55 * s / SHADES);
  });

  const hidden = new Uint8Array(256);
  let wrongHidden = false, frame = 0, playing = false, asked = false;
  let yaw, pitch, zoom;
  const reset = () => { yaw = 25; pitch = 15; zoom = 1.1; };
  reset();

  const layer = document.createElement("canvas"), context = canvas.getContext("2d");
  let image, buffer, depths;
  function resize() {
    const ratio = window.devicePixelRatio || 1;
    canvas.width = layer.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    canvas.height = layer.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    image = layer.getContext("2d").createImageData(layer.width, layer.height);
    buffer = new Int32Array(image.data.buffer);
    depths = new Float32Array(buffer.length);
    line.width = Math.max(1, Math.round(line.clientWidth * ratio));
    line.height = 10;
    drawLine();
    ask();
  }
  function disk(radius) {
    const found = [], far = Math.ceil(radius), reach = radius * radius + radius;
    for (let y = -far; y <= far; y++) for (let x = -far; x <= far; x++)
      if (x * x + y * y <= reach) found.push([x, y]);
    return found;
  }

  function draw() {
    asked = false;
    const w = canvas.width, h = canvas.height, scale = zoom * Math.min(w, h) / 2;
    const radians = Math.PI / 180;
    const cy = Math.cos(yaw * radians), sy = Math.sin(yaw * radians);
    const cp = Math.cos(pitch * radians), sp = Math.sin(pitch * radians);
    const project = (x, y, z) => {
      const away = cy * z - sy * x;
      return [w / 2 + scale * (cy * x + sy * z), h / 2 - scale * (cp * y + sp * away),
        cp * away - sp * y];
    };
    buffer.fill(0);
    depths.fill(Infinity);
    const count = starts[frame + 1] - starts[frame], ratio = w / (canvas.clientWidth || w);
    const size = ratio * Math.sqrt(zoom) * Math.max(0.7, Math.min(2, 75 / Math.sqrt(count)));
    const own = disk(size), rim = disk(size + 1.6 * ratio);
    const splat = (shape, px, py, depth, color) => {
      for (let k = 0; k < shape.length; k++) {
        const x = px + shape[k][0], y = py + shape[k][1], at = y * w + x;
        if (x >= 0 && x < w && y >= 0 && y < h && depth < depths[at]) {
          depths[at] = depth;
          buffer[at] = color;
        }
      }
    };
    for (let i = starts[frame]; i < starts[frame + 1]; i++) {
      const k = labels[i];
      if (hidden[k]) continue;
      const x = points[3 * i], y = points[3 * i + 1], z = points[3 * i + 2];
      const away = cy * z - sy * x, depth = cp * away - sp * y;
      const px = Math.round(w / 2 + scale * (cy * x + sy * z));
      const py = Math.round(h / 2 - scale * (cp * y + sp * away));
      const shade = Math.max(0, Math.min(SHADES - 1, ((depth + 1) * SHADES / 2) | 0));
      // The rim lies just behind its own point.
      if (wrong.length && wrong[i] && !wrongHidden) splat(rim, px, py, depth + 1e-3, red);
      splat(own, px, py, depth, pixels[k * SHADES + shade]);
    }
    layer.getContext("2d").putImageData(image, 0, 0);
    context.clearRect(0, 0, w, h);
    drawBox(project, ratio);
    context.drawImage(layer, 0, 0);
  }

  function drawBox(project, ratio) {
    const side = clip.sides.map((v) => v / half);
    const corner = (k) => project(...side.map((v, d) => (k >> d & 1 ? v : -v)));
    context.strokeStyle = "#d5d5d5";
    context.lineWidth = ratio;
    context.beginPath();
    for (let k = 0; k < 8; k++) for (let d = 0; d < 3; d++) if (!(k >> d & 1)) {
      context.moveTo(...corner(k).slice(0, 2));
      context.lineTo(...corner(k | 1 << d).slice(0, 2));
    }
    context.stroke();
    // Each axis is named at that of its edges which lies farthest outside.
    context.fillStyle = "#777";
    context.font = `${11 * ratio}px system-ui, sans-serif`;
    const middleX = canvas.width / 2, middleY = canvas.height / 2;
    for (let d = 0; d < 3; d++) {
      let best = null;
      for (let k = 0; k < 8; k++) if (!(k >> d & 1)) {
        const [a, b] = [corner(k), corner(k | 1 << d)];
        const x = (a[0] + b[0]) / 2, y = (a[1] + b[1]) / 2;
        const cost = d === 1 ? x : -y + 1e-3 * Math.abs(x - middleX);
        if (!best || cost < best.cost) best = { x, y, cost };
      }
      const text = clip.axes[d], width = context.measureText(text).width;
      let x = d === 1 ? best.x - width - 6 * ratio
        : best.x < middleX ? best.x - width - 2 * ratio : best.x + 4 * ratio;
      x = Math.max(2, Math.min(canvas.width - width - 2, x));
      const y = Math.min(canvas.height - 4 * ratio, best.y + (d === 1 ? 0 : 14 * ratio));
      context.fillText(text, x, Math.max(12 * ratio, y));
    }
  }

  function drawLine() {
    const pen = line.getContext("2d"), count = frameLabels.length;
    for (let t = 0; t < count; t++) {
      pen.fillStyle = clip.colors[frameLabels[t]] || "#ddd";
      if (hidden[frameLabels[t]]) pen.fillStyle = "#fff";
      const left = Math.floor(t / count * line.width);
      pen.fillRect(left, 0, Math.ceil((t + 1) / count * line.width) - left, line.height);
    }
  }

  function ask() {
    if (!asked) requestAnimationFrame(draw);
    asked = true;
  }
  function show(t) {
    frame = t;
    slider.value = t;
    const parts = [`frame ${t + 1} of ${clip.counts.length}`];
    if (clip.times) parts.push(`${clip.times[t].toFixed(2)} s`);
    if (clip.frameLabels)
      parts.push(frameLabels[t] === NONE ? "no label" : clip.names[frameLabels[t]]);
    caption.textContent = parts.join(" · ");
    ask();
  }

  function entry(name, look, toggle) {
    const item = document.createElement("button"), dot = document.createElement("i");
    item.type = "button";
    item.setAttribute("aria-pressed", "true");
    Object.assign(dot.style, look);
    item.append(dot, name);
    item.addEventListener("click", () => {
      item.setAttribute("aria-pressed", String(!toggle()));
      drawLine();
      ask();
    });
    legend.append(item);
  }
  const names = clip.names || [];
  names.forEach((name, k) =>
    entry(name, { background: clip.colors[k] }, () => (hidden[k] ^= 1)));
  if (clip.names && labels.includes(NONE))
    entry("no label", { background: "#bebebe" }, () => (hidden[NONE] ^= 1));
  if (wrong.includes(1))
    entry("wrong", { borderColor: "crimson" }, () => (wrongHidden = !wrongHidden));

  let last = 0;
  function tick(now) {
    if (!playing) return;
    // A frame that comes late does not delay those after it.
    const due = Math.floor((now - last) / (1000 * clip.pace));
    if (due > 0) {
      last += due * 1000 * clip.pace;
      show((frame + due) % clip.counts.length);
    }
    requestAnimationFrame(tick);
  }
  function setPlaying(value) {
    playing = value;
    button.textContent = playing ? "Pause" : "Play";
    last = performance.now();
    if (playing) requestAnimationFrame(tick);
  }
  button.addEventListener("click", () => setPlaying(!playing));
  slider.addEventListener("input", () => { setPlaying(false); show(Number(slider.value)); });
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons) return;
    yaw -= 0.5 * event.movementX;
    pitch = Math.max(-90, Math.min(90, pitch + 0.5 * event.movementY));
    ask();
  });
  canvas.addEventListener("dblclick", () => { reset(); ask(); });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom = Math.max(0.3, Math.min(20, zoom * Math.exp(-0.002 * event.deltaY)));
    ask();
  }, { passive: false });
  line.hidden = !clip.frameLabels;
  new ResizeObserver(resize).observe(canvas);
  resize();
  show(0);
}
"""
