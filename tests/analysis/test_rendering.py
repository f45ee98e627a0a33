"""Rays and what they meet."""

from __future__ import annotations

import numpy as np
import pytest

from molcalc.analysis.rendering import Camera, Rendering
from molcalc.errors import ConfigError

FRONT = Camera(elevation=0.0, azimuth=0.0, pixels=201)
"""Looks along −x: y to the right, z up."""


@pytest.mark.parametrize("camera", [Camera(), Camera(-70, 200, 33), Camera(90, 0), FRONT])
def test_the_frame_of_a_camera_is_right_handed(camera: Camera) -> None:
    assert camera.frame @ camera.frame.T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(camera.frame) == pytest.approx(1.0)


def test_the_camera_turns_as_in_matplotlib() -> None:
    assert FRONT.frame == pytest.approx(np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]]), abs=1e-12)
    assert Camera(90, -90).frame == pytest.approx(np.eye(3), abs=1e-12)


def test_rays_meet_the_nearer_sphere() -> None:
    centers, radii = np.array([[0.0, 0, 0], [2.0, 0.5, 0]]), np.array([1.0, 0.5])
    image = Rendering.around(FRONT, centers, radii)
    depth, nearest = image.spheres(centers, radii)
    hit = nearest >= 0
    places = image.places(depth[hit], hit)
    distances = np.linalg.norm(places - centers[nearest[hit]], axis=1)
    assert np.abs(distances - radii[nearest[hit]]).max() < 1e-9
    assert (places[nearest[hit] == 1][:, 0] >= 2.0).all()
    pixel = (2 * image.half[0] / depth.shape[1]) * (2 * image.half[1] / depth.shape[0])
    assert pixel * (nearest == 1).sum() == pytest.approx(np.pi * 0.25, rel=0.02)
    covered = nearest == 0
    assert pixel * covered.sum() == pytest.approx(
        np.pi - 0.25 * np.pi, rel=0.1
    )  # hidden by the near one, but for a rim


def test_a_stick_reaches_from_end_to_end() -> None:
    ends = np.array([[0.0, -1, 0], [0.0, 1, 0.5]])
    image = Rendering.around(FRONT, ends, np.array([0.3, 0.3]))
    image.add_sticks(ends[:1], ends[1:], 0.1, np.array([[1.0, 0, 0]]))
    hit = np.isfinite(image.depth)
    pixel = (2 * image.half[0] / hit.shape[1]) * (2 * image.half[1] / hit.shape[0])
    assert pixel * hit.sum() == pytest.approx(0.2 * np.sqrt(4.25), rel=0.05)
    assert (image.rgb[hit][:, 0] > image.rgb[hit][:, 1]).all()
    assert (image.rgb[~hit] == 1.0).all()


def test_what_is_behind_stays_behind_and_shines_through() -> None:
    centers = np.array([[0.0, 0, 0], [3.0, 0, 0]])
    image = Rendering.around(FRONT, centers, np.array([0.5, 0.5]))
    image.add_spheres(centers[1:], np.array([0.5]), np.array([[1.0, 0, 0]]))
    middle = tuple(n // 2 for n in image.depth.shape)
    red = image.rgb[middle].copy()
    image.add_spheres(centers[:1], np.array([0.5]), np.array([[0, 1.0, 0]]))
    assert np.array_equal(image.rgb[middle], red)
    image.add_spheres(np.array([[5.0, 0, 0]]), np.array([0.5]), np.array([[0, 1.0, 0]]), opacity=0.5)
    assert red[0] > image.rgb[middle][0] > 0.3
    assert image.rgb[middle][1] > red[1]


def test_the_broad_side_of_a_molecule_is_seen() -> None:
    flat = np.array([[0.0, 0, 0], [0, 0, 4.0], [0, 1.0, 2.0], [0, -1.0, 1.0]])  # in the plane x = 0, longest along z
    frame = Camera.facing(flat).frame
    assert abs(frame[2, 0]) > 0.85
    assert abs(frame[0, 2]) > 0.9


def test_cameras_without_sense_are_refused() -> None:
    for wrong in ({"pixels": 3}, {"elevation": float("nan")}):
        with pytest.raises(ConfigError):
            Camera(**wrong)
