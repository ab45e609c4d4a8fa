import pytest

from bench.data.lists import write_list
from bench.data.london import London, LondonOptions, london
from bench.errors import UserError
from tests.data.images import put

VIEWS = {
    "neutral_left_profile": "01",
    "neutral_left_3quarter": "02",
    "neutral_front/neutral_front": "03",  # an archive unpacked into a folder of its own name
    "neutral_right_3quarter": "04",
    "neutral_right_profile": "05",
    "smiling_left_profile": "06",
    "smiling_left_3quarter": "07",
    "smiling_front": "08",
    "smiling_right_3quarter": "09",
    "smiling_right_profile": "10",
}
INFO = "face_id,face_age,face_gender,face_eth\n001,24,female,white\n031,NA,male,east_asian/white\n"


@pytest.fixture
def root(tmp_path):
    for folder, view in VIEWS.items():
        for person in ("031", "001"):
            put(tmp_path / "london" / folder / f"{person}_{view}.jpg")
            (tmp_path / "london" / folder / f"{person}_{view}.tem").write_text("189")
            put(tmp_path / "london" / "__MACOSX" / folder / f"._{person}_{view}.jpg")
    (tmp_path / "london" / "london_faces_info.csv").write_text(INFO)
    return tmp_path / "london"


def photos(root, **options):
    return London(LondonOptions(root=root, **options)).photos()


def test_reference_and_targets(root):
    table = photos(root)
    assert table["subject"].tolist() == ["001"] * 6 + ["031"] * 6
    assert table["item"].tolist() == ["001", *[""] * 5, "031", *[""] * 5]
    assert [image[-6:-4] for image in table["image"][:6]] == ["03", "08", "02", "04", "07", "09"]
    assert table["image"][0] == "neutral_front/neutral_front/001_03.jpg"
    assert table["status"].eq("ok").all()


def test_profiles(root):
    assert [image[-6:-4] for image in photos(root, profiles=True)["image"][6:10]] == ["01", "05", "06", "10"]


def test_groups(root):
    table = photos(root).set_index("item")
    assert tuple(table.loc["001", ["gender", "age", "ancestry"]]) == ("female", "24", "white")
    assert tuple(table.loc["031", ["gender", "age", "ancestry"]]) == ("male", "", "east_asian/white")


def test_groups_in_the_older_form_of_the_file(root):
    text = INFO.replace("face_gender", "face_sex").replace("\n0", "\nX0")
    (root / "london_faces_info.csv").write_text(text)
    assert photos(root)["gender"].tolist() == ["female"] * 6 + ["male"] * 6


def test_without_the_info_file(root):
    (root / "london_faces_info.csv").unlink()
    assert "gender" not in photos(root)


def test_some_views_only(root):
    for view in ("01", "02", "04", "05", "06", "07", "09", "10"):
        for path in root.rglob(f"*_{view}.jpg"):
            path.unlink()
    assert [image[-10:] for image in photos(root)["image"]] == ["001_03.jpg", "001_08.jpg", "031_03.jpg", "031_08.jpg"]


def test_a_list(root, tmp_path):
    made = london(root)
    assert made.remarks.empty
    write_list(made.photos, tmp_path / "london.csv")
    assert photos(root, list=tmp_path / "london.csv").equals(made.photos)


def test_not_the_set(root, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no neutral front image \(NNN_03.jpg\) below .*empty; unpack neutral_front"):
        photos(tmp_path / "empty")
    next(root.rglob("031_03.jpg")).unlink()
    with pytest.raises(UserError, match="no neutral front image of 031"):
        photos(root)
