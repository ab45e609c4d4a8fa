import numpy as np
import pytest
from PIL import Image

from bench.data.agedb import AgeDB, AgeDBOptions, Name, agedb400, parse
from bench.data.lists import write_list
from bench.errors import UserError
from tests.data.images import put


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0_MariaCallas_35_f.jpg", Name(0, "MariaCallas", 35, "f")),
        ("1000_StephenHawking_1_m.jpg", Name(1000, "StephenHawking", 1, "m")),
        ("16020_MorganFreeman _73_m.jpg", Name(16020, "MorganFreeman", 73, "m")),
        ("7_ Jean_Luc Picard_ 101 _m .JPG", Name(7, "Jean_Luc Picard", 101, "m")),
        ("8_A_1_m_f_20_f.jpg", Name(8, "A_1_m_f", 20, "f")),
        ("0012_X_20_f.jpg", Name(12, "X", 20, "f")),
        ("x_Name_20_f.jpg", None),
        ("1_Name_old_f.jpg", None),
        ("1_Name_20_x.jpg", None),
        ("1__20_f.jpg", None),
        ("1_ _20_f.jpg", None),
        ("1_20_f.jpg", None),
        ("²_Name_20_f.jpg", None),
        ("picture.jpg", None),
    ],
)
def test_names(name, expected):
    assert parse(name) == expected


# name, width, height. By hand, in the order of the rule (shorter side, area, number):
# 4 (60x60), 5 (50x70), 9 (50x60, area as 10's but the lower number), 10 (60x50), 2 (50x50), 3 (40x99), 1 (20x20)
SIZES = [
    ("1_Anna_30_f.png", 20, 20),
    ("2_Anna_33_f.png", 50, 50),
    ("3_Bob_50_m.png", 40, 99),
    ("4_Bob_20_m.png", 60, 60),
    ("5_Anna_40_f.png", 50, 70),
    ("9_Carla _61_f.png", 50, 60),
    ("10_Bob_55_m.png", 60, 50),
]


@pytest.fixture
def root(tmp_path):
    for name, width, height in SIZES:
        put(tmp_path / "agedb" / name, width, height)
    return tmp_path / "agedb"


def images(listing):
    return listing.photos["image"].tolist()


def numbers(listing):
    return [int(image.split("_")[0]) for image in images(listing)]


def test_the_rule(root):
    assert numbers(agedb400(root, count=7)) == [4, 5, 9, 10, 2, 3, 1]
    assert numbers(agedb400(root, count=4)) == [4, 5, 9, 10]
    assert numbers(agedb400(root, count=3, one_per_subject=True)) == [4, 5, 9]
    assert numbers(agedb400(root, count=2, min_age=41)) == [9, 10]


def test_the_list(root):
    row = agedb400(root, count=3).photos.to_dict("records")[2]
    assert (row["item"], row["subject"], row["role"]) == ("9_Carla _61_f", "Carla", "reference")
    assert (row["gender"], row["age"], row["width"], row["height"]) == ("female", "61", 50, 60)


def test_only_photos_with_one_face_and_why_not(root):
    (root / "99_Dan_40_m.png").write_text("not a picture")
    (root / "holiday.png").write_bytes((root / SIZES[0][0]).read_bytes())
    broken = (root / "5_Anna_40_f.png").read_bytes()
    (root / "5_Anna_40_f.png").write_bytes(broken[: len(broken) // 2])
    faces = {(60, 60): 2, (60, 50): 0}
    made = agedb400(root, lambda image: faces.get(image.shape[1::-1], 1), count=3)
    assert numbers(made) == [9, 2, 3]
    assert made.remarks.to_dict("records") == [
        {"image": "holiday.png", "remark": "not named {id}_{Name}_{age}_{m|f}"},
        {"image": "99_Dan_40_m.png", "remark": "not an image"},
        {"image": "4_Bob_20_m.png", "remark": "2 faces"},
        {"image": "5_Anna_40_f.png", "remark": "truncated"},
        {"image": "10_Bob_55_m.png", "remark": "0 faces"},
    ]


def test_too_few(root):
    with pytest.raises(UserError, match="has 7 photos that fit, not 400; --count 7 lists those"):
        agedb400(root)


def test_targets_come_from_the_whole_set_nearest_in_age_first(root, tmp_path):
    write_list(agedb400(root, count=2).photos, tmp_path / "list.csv")  # 4 (Bob, 20) and 5 (Anna, 40)
    table = AgeDB(AgeDBOptions(root=root, list=tmp_path / "list.csv")).photos()
    targets = table[table["role"] == "target"]
    assert list(zip(targets["image"], targets["age_gap"], targets["gender"], strict=True)) == [
        ("3_Bob_50_m.png", "30", "male"),
        ("10_Bob_55_m.png", "35", "male"),
        ("2_Anna_33_f.png", "7", "female"),
        ("1_Anna_30_f.png", "10", "female"),
    ]
    assert table.loc[table["role"] == "reference", "age_gap"].tolist() == ["", ""]


def test_the_gap_is_to_the_nearest_reference_and_no_reference_is_a_target(root, tmp_path):
    write_list(agedb400(root, count=5).photos, tmp_path / "list.csv")  # Bob at 20 and 55, Anna at 40 and 33
    table = AgeDB(AgeDBOptions(root=root, list=tmp_path / "list.csv")).photos()
    targets = table[table["role"] == "target"]
    assert dict(zip(targets["image"], targets["age_gap"], strict=True)) == {
        "3_Bob_50_m.png": "5",
        "1_Anna_30_f.png": "3",
    }


@pytest.mark.parametrize(("targets", "expected"), [(0, 0), (1, 2), (2, 4), (5, 4)])
def test_so_many_targets_per_subject(root, tmp_path, targets, expected):
    write_list(agedb400(root, count=2).photos, tmp_path / "list.csv")
    table = AgeDB(AgeDBOptions(root=root, list=tmp_path / "list.csv", targets=targets)).photos()
    assert (table["role"] == "target").sum() == expected


def test_the_targets_of_a_list_are_not_added_to(root, tmp_path):
    made = agedb400(root, count=2).photos
    made.loc[1, ["item", "role"]] = ["", "target"]
    write_list(made, tmp_path / "list.csv")
    assert len(AgeDB(AgeDBOptions(root=root, list=tmp_path / "list.csv")).photos()) == 2


def test_without_a_list(root):
    with pytest.raises(UserError, match=f"python -m bench data agedb400 --root {root} --out agedb400.csv"):
        AgeDB(AgeDBOptions(root=root)).photos()


def test_grey_photos_are_used(root):
    Image.fromarray(np.zeros((90, 90), np.uint8)).save(root / "77_Eve_50_f.png")
    assert numbers(agedb400(root, count=1)) == [77]
