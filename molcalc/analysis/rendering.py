"""Shaded images of spheres and sticks, seen from any side without perspective; every pixel looks along one ray."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int

from molcalc.errors import ConfigError

LIGHT = np.array([-0.45, 0.55, 0.70])
"""Towards the lamp, in the frame of the viewer: right, up, near."""
AMBIENT, SHINE = 0.6, 0.18
PIXELS = 520
"""Of the longer side of an image."""


@dataclass(frozen=True)
class Camera:
    """Where a picture is taken from.

    Attributes
    ----------
    elevation, azimuth : degrees, as in matplotlib: height above the xy plane, and turn about z from x.
    roll : degrees, turn about the line of sight.
    pixels : of the longer side.
    """

    elevation: float = 20.0
    azimuth: float = 45.0
    roll: float = 0.0
    pixels: int = PIXELS

    def __post_init__(self) -> None:
        if not np.isfinite([self.elevation, self.azimuth, self.roll]).all():
            raise ConfigError(
                f"elevation, azimuth and roll are degrees, not {self.elevation}, {self.azimuth}, {self.roll}"
            )
        if not 16 <= self.pixels <= 8192:
            raise ConfigError(f"pixels={self.pixels}: between 16 and 8192")

    @property
    def frame(self) -> Float64[np.ndarray, "3 3"]:
        """Directions of right, up and near, in rows."""
        up, around, roll = np.radians([self.elevation, self.azimuth, self.roll])
        near = np.array([np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up)])
        right = np.array([-np.sin(around), np.cos(around), 0.0])
        above = np.cross(near, right)
        turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
        return np.concatenate([turn @ np.stack([right, above]), near[None]])

    @classmethod
    def facing(cls, positions: Float64[np.ndarray, "n 3"], pixels: int = PIXELS) -> Camera:
        """The camera that sees a molecule at its widest: along the shortest of its principal axes, a little from above.

        Returns
        -------
        camera
        """
        centered = positions - positions.mean(axis=0)
        directions = np.linalg.svd(centered, full_matrices=True)[2]
        near = directions[2] + 0.35 * directions[1] + 0.2 * directions[0]
        near = near / np.linalg.norm(near)
        near = near if near[np.abs(near).argmax()] > 0 else -near
        elevation = float(np.degrees(np.arcsin(np.clip(near[2], -1.0, 1.0))))
        flat = cls(elevation, float(np.degrees(np.arctan2(near[1], near[0]))), 0.0, pixels)
        # Its longest axis lies across the picture.
        across = flat.frame[:2] @ directions[0]
        return replace(flat, roll=float(np.degrees(np.arctan2(across[1], across[0]))))


@dataclass
class Rendering:
    """What the rays of a picture have met so far.

    Attributes
    ----------
    camera : from where.
    center : (3,) Å, in the middle of the picture.
    half : Å from there to the right and upper edges.
    depth : (height, width) Å towards the viewer of what is nearest; −inf where there is nothing.
    rgb : (height, width, 3) colors; white where there is nothing.
    """

    camera: Camera
    center: Float64[np.ndarray, " 3"]
    half: tuple[float, float]
    depth: Float64[np.ndarray, "height width"]
    rgb: Float64[np.ndarray, "height width 3"]

    @classmethod
    def around(cls, camera: Camera, centers: Float64[np.ndarray, "n 3"], radii: Float64[np.ndarray, " n"]) -> Rendering:
        """Empty picture into which spheres fit."""
        middle = centers.mean(axis=0)
        seen = (centers - middle) @ camera.frame.T
        low, high = (seen - radii[:, None]).min(axis=0), (seen + radii[:, None]).max(axis=0)
        center = middle + 0.5 * (low + high) @ camera.frame
        half = 0.53 * (high - low)[:2]
        scale = camera.pixels / (2.0 * half.max())
        width, height = (max(2, int(np.ceil(2.0 * scale * side))) for side in half)
        return cls(
            camera,
            center,
            (float(half[0]), float(half[1])),
            np.full((height, width), -np.inf),
            np.ones((height, width, 3)),
        )

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, lower and upper edge in Å, for ``imshow``."""
        return -self.half[0], self.half[0], -self.half[1], self.half[1]

    def seen(self, positions: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Places in the picture: Å to the right, up and near."""
        return (positions - self.center) @ self.camera.frame.T

    def places(self, depth: Float64[np.ndarray, " n"], hit: Bool[np.ndarray, "height width"]) -> np.ndarray:
        """(n, 3) Å in space, of pixels and the depths at which their rays stop."""
        x, y = self._rays()
        return self.center + np.stack([x[hit], y[hit], depth], axis=1) @ self.camera.frame

    def spheres(
        self, centers: Float64[np.ndarray, "n 3"], radii: Float64[np.ndarray, " n"]
    ) -> tuple[Float64[np.ndarray, "height width"], Int[np.ndarray, "height width"]]:
        """Where rays meet spheres first.

        Returns
        -------
        depth : (height, width) Å; −inf where a ray meets none.
        nearest : (height, width) index of the sphere, −1 for none.
        """
        x, y = self._rays()
        depth, nearest = np.full(x.shape, -np.inf), np.full(x.shape, -1)
        for k, ((cx, cy, cz), radius) in enumerate(zip(self.seen(centers), radii)):
            rows, columns = self._window(cy, radius, x.shape[0], 1), self._window(cx, radius, x.shape[1], 0)
            squares = radius**2 - (x[rows, columns] - cx) ** 2 - (y[rows, columns] - cy) ** 2
            here = cz + np.sqrt(np.maximum(squares, 0.0))
            first = (squares > 0) & (here > depth[rows, columns])
            depth[rows, columns][first] = here[first]
            nearest[rows, columns][first] = k
        return depth, nearest

    def add_spheres(
        self, centers: Float64[np.ndarray, "n 3"], radii: Float64[np.ndarray, " n"], colors: Float64[np.ndarray, "n 3"],
        opacity: float = 1.0,
    ) -> None:  # fmt: skip
        """Draw spheres of (n, 3) colors; what is behind them shines through by 1 − opacity."""
        depth, nearest = self.spheres(centers, radii)
        hit = (nearest >= 0) & (depth > self.depth)
        index = nearest[hit]
        normals = (self.places(depth[hit], hit) - centers[index]) / radii[index, None]
        self.add(hit, depth[hit], normals, colors[index], opacity)

    def add_sticks(
        self, starts: Float64[np.ndarray, "n 3"], ends: Float64[np.ndarray, "n 3"], radius: float,
        colors: Float64[np.ndarray, "n 3"],
    ) -> None:  # fmt: skip
        """Draw cylinders with open ends, between (n, 3) places in Å."""
        all_x, all_y = self._rays()
        for start, end, color in zip(self.seen(starts), self.seen(ends), colors):
            window = tuple(
                self._window(0.5 * (start[side] + end[side]), radius + 0.5 * abs(end[side] - start[side]), size, side)
                for side, size in ((1, len(all_x)), (0, all_x.shape[1]))
            )
            x, y, depth = all_x[window], all_y[window], self.depth[window]
            axis = end - start
            length = float(np.linalg.norm(axis))
            if length == 0.0:
                continue
            axis = axis / length
            # The ray (x, y, t) is at the radius from the line: a quadratic equation in t.
            ox, oy = x - start[0], y - start[1]
            along = ox * axis[0] + oy * axis[1]
            a = 1.0 - axis[2] ** 2
            if a < 1e-9:
                continue
            b = -along * axis[2]
            c = ox**2 + oy**2 - along**2 - radius**2
            inside = b * b - a * c
            t = (-b + np.sqrt(np.maximum(inside, 0.0))) / a
            place = along + t * axis[2]
            hit = (inside > 0) & (place >= 0) & (place <= length) & (start[2] + t > depth)
            at = np.stack([ox[hit], oy[hit], t[hit]], axis=1)
            normals = (at - place[hit, None] * axis) / radius
            in_picture = np.zeros(all_x.shape, dtype=bool)
            in_picture[window] = hit
            normals, colors_hit = normals @ self.camera.frame, np.tile(color, (int(hit.sum()), 1))
            self.add(in_picture, (start[2] + t)[hit], normals, colors_hit)

    def add(
        self, hit: Bool[np.ndarray, "height width"], depth: Float64[np.ndarray, " n"],
        normals: Float64[np.ndarray, "n 3"], colors: Float64[np.ndarray, "n 3"], opacity: float = 1.0,
    ) -> None:  # fmt: skip
        """Shade pixels by the normals, in space, of what their rays meet."""
        seen = normals @ self.camera.frame.T
        light = LIGHT / np.linalg.norm(LIGHT)
        diffuse = np.clip(seen @ light, 0.0, 1.0)
        halfway = light + np.array([0.0, 0.0, 1.0])
        gloss = np.clip(seen @ (halfway / np.linalg.norm(halfway)), 0.0, 1.0) ** 40
        shaded = colors * (AMBIENT + (1.0 - AMBIENT) * diffuse)[:, None] + SHINE * gloss[:, None]
        self.rgb[hit] = (1.0 - opacity) * self.rgb[hit] + opacity * np.clip(shaded, 0.0, 1.0)
        self.depth[hit] = depth

    def _rays(self) -> tuple[np.ndarray, np.ndarray]:
        """(height, width) Å to the right and up of every pixel, the uppermost line first."""
        height, width = self.depth.shape
        x = ((np.arange(width) + 0.5) / width * 2.0 - 1.0) * self.half[0]
        y = (1.0 - (np.arange(height) + 0.5) / height * 2.0) * self.half[1]
        return np.broadcast_to(x, (height, width)), np.broadcast_to(y[:, None], (height, width))

    def _window(self, center: float, radius: float, pixels: int, side: int) -> slice:
        """Lines or columns of pixels that a sphere can be in."""
        half = self.half[side]
        low, high = ((value / half + 1.0) / 2.0 * pixels for value in (center - radius, center + radius))
        if side == 1:
            low, high = pixels - high, pixels - low
        return slice(max(0, int(low) - 1), max(0, int(high) + 2))
