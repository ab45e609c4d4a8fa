from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench.errors import UserError
from bench.mini import dataset, world


def test_files_are_the_pictures_and_their_truth(tmp_path: Path) -> None:
    dataset.make(tmp_path, subjects=2, targets=2, size=64)
    shown = list(dataset.pictures(2, 2, 64))
    files = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.png"))
    assert files == ["s000/reference.png", "s000/target_1.png", "s000/target_2.png"] + [
        f"s001/{name}.png" for name in ("reference", "target_1", "target_2")
    ]
    truth = pd.read_csv(tmp_path / "truth.csv")
    assert truth["image"].tolist() == files == [picture.name for picture in shown]
    assert truth["role"].tolist() == ["reference", "target", "target"] * 2
    for k, picture in enumerate(shown):
        with Image.open(tmp_path / picture.name) as image:
            np.testing.assert_array_equal(np.asarray(image), picture.image)
            assert "synthetic" in image.info["Comment"]
        for name, value in picture.truth.items():
            assert truth.loc[k, name] == pytest.approx(value, abs=1e-6)


def test_same_bytes_at_every_call(tmp_path: Path) -> None:
    for name in ("one", "two"):
        dataset.make(tmp_path / name, subjects=1, targets=1, size=48)
    for file in ("truth.csv", "s000/reference.png", "s000/target_1.png"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_subject_is_the_same_in_a_larger_dataset() -> None:
    small, large = list(dataset.pictures(1, 1, 32)), list(dataset.pictures(3, 1, 32))
    assert small[1].truth == large[1].truth
    np.testing.assert_array_equal(small[1].image, large[1].image)


def test_one_person_a_subject_and_none_from_training() -> None:
    shown = list(dataset.pictures(4, 1, 16))
    identity = np.array([[p.truth[f"identity_{name}"] for name in world.IDENTITY] for p in shown], np.float32)
    assert (world.split_of(identity) == -1).all()
    np.testing.assert_array_equal(identity[::2], identity[1::2])
    assert len(np.unique(identity, axis=0)) == 4
    yaw = np.array([abs(p.truth["yaw"]) for p in shown])
    assert np.degrees(yaw[::2]).max() <= 12.01


@pytest.mark.parametrize(("subjects", "targets"), [(0, 1), (1, -1)])
def test_impossible_numbers(subjects: int, targets: int) -> None:
    with pytest.raises(UserError, match="at least"):
        next(dataset.pictures(subjects, targets))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        dataset.make(tmp_path / "file", subjects=1, targets=0, size=16)
