"""Scenes as pixels: drawn at four times the size and averaged down, then degraded."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from bench.tiny.world import COLORS, IMAGE_SIZE, WASH_GREY, Scene, Thing

RENDER_VERSION = 1
SCALE = 4
"""Supersampling factor."""

_STROKES: dict[str, tuple[tuple[tuple[float, float], ...], ...]] = {
    # polylines in a unit box, y downwards
    "H": (((0, 0), (0, 1)), ((1, 0), (1, 1)), ((0, 0.5), (1, 0.5))),
    "L": (((0, 0), (0, 1), (1, 1)),),
    "O": (((0, 0), (1, 0), (1, 1), (0, 1), (0, 0)),),
    "T": (((0, 0), (1, 0)), ((0.5, 0), (0.5, 1))),
    "X": (((0, 0), (1, 1)), ((1, 0), (0, 1))),
    "Z": (((0, 0), (1, 0), (0, 1), (1, 1)),),
}


def outline(shape: str, x: float, y: float, radius: float) -> list[tuple[float, float]]:
    """Return the polygon of a shape around (x, y), in the units of `radius`."""
    r = radius
    if shape == "circle":
        angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        return [(x + r * float(np.cos(a)), y + r * float(np.sin(a))) for a in angles]
    if shape == "square":
        s = 0.9 * r
        return [(x - s, y - s), (x + s, y - s), (x + s, y + s), (x - s, y + s)]
    if shape == "triangle":
        return [(x, y - r), (x + r, y + 0.85 * r), (x - r, y + 0.85 * r)]
    if shape == "cross":
        a, b = r, 0.36 * r
        corners = [(-b, -a), (b, -a), (b, -b), (a, -b), (a, b), (b, b)]
        corners += [(b, a), (-b, a), (-b, b), (-a, b), (-a, -b), (-b, -b)]
        return [(x + dx, y + dy) for dx, dy in corners]
    raise ValueError(f"unknown shape {shape!r}")


def _draw_thing(canvas: Image.Image, thing: Thing, scene: Scene) -> None:
    k = SCALE
    points = [(px * k, py * k) for px, py in outline(thing.shape, thing.x, thing.y, thing.radius)]
    color = COLORS[thing.color]
    draw = ImageDraw.Draw(canvas)
    if scene.style == "sketch":
        draw.line([*points, points[0], points[1]], fill=color, width=round(1.7 * k), joint="curve")
        return
    if thing.fill == "solid":
        draw.polygon(points, fill=color)
        return
    pattern = Image.new("RGB", canvas.size, color)
    over = ImageDraw.Draw(pattern)
    light = tuple(round(0.15 * c + 0.85 * g) for c, g in zip(color, (255, 255, 255), strict=True))
    left, top, r = thing.x * k, thing.y * k, thing.radius * k
    if thing.fill == "striped":
        for i in range(-3, 4):
            y = top + i * 4 * k
            over.rectangle([left - r, y - 0.8 * k, left + r, y + 0.8 * k], fill=light)
    else:
        for i in range(-3, 4):
            for j in range(-3, 4):
                cx, cy, d = left + i * 4 * k, top + j * 4 * k, 1.1 * k
                over.ellipse([cx - d, cy - d, cx + d, cy + d], fill=light)
    mask = Image.new("L", canvas.size, 0)
    ImageDraw.Draw(mask).polygon(points, fill=255)
    canvas.paste(pattern, (0, 0), mask)
    draw.line([*points, points[0], points[1]], fill=color, width=round(1.1 * k), joint="curve")


def _draw_sign(canvas: Image.Image, letters: str, night: bool) -> None:
    k, n = SCALE, len(letters)
    width, height, gap = 6.5, 11.0, 2.5
    total = n * width + (n - 1) * gap
    x0, y0 = (IMAGE_SIZE - total) / 2, (IMAGE_SIZE - height) / 2
    draw = ImageDraw.Draw(canvas)
    board = [(x0 - 2.5) * k, (y0 - 3) * k, (x0 + total + 2.5) * k, (y0 + height + 3) * k]
    draw.rectangle(board, fill=(250, 250, 250) if night else (255, 245, 200))
    for i, letter in enumerate(letters):
        for stroke in _STROKES[letter]:
            points = [
                ((x0 + i * (width + gap) + px * width) * k, (y0 + py * height) * k)
                for px, py in stroke
            ]
            draw.line(points, fill=(30, 30, 30), width=round(1.8 * k), joint="curve")


def render(scene: Scene) -> np.ndarray:
    """Return the image of a scene as uint8 RGB of shape (IMAGE_SIZE, IMAGE_SIZE, 3)."""
    size = IMAGE_SIZE * SCALE
    canvas = Image.new("RGB", (size, size), scene.ground)
    for thing in scene.things:
        _draw_thing(canvas, thing, scene)
    if scene.letters:
        _draw_sign(canvas, scene.letters, scene.night)
    if scene.blur > 0:
        canvas = canvas.filter(ImageFilter.GaussianBlur(scene.blur * SCALE))
    small = canvas.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BOX)
    pixels = np.asarray(small, dtype=np.float32)
    if scene.wash > 0:
        pixels = pixels * (1 - scene.wash) + WASH_GREY * scene.wash
    if scene.noise > 0:
        rng = np.random.default_rng([7, scene.noise_seed])
        blocks = rng.normal(0, scene.noise, (IMAGE_SIZE // 4, IMAGE_SIZE // 4, 3))
        pixels = pixels + np.kron(blocks, np.ones((4, 4, 1))).astype(np.float32)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
