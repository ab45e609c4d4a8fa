import pandas as pd
import pytest

from bench.data.folder import Folder, FolderOptions, folder_list
from bench.data.lists import list_text, read_list, write_list
from bench.errors import UserError
from tests.data.images import put

AWKWARD = [
    "plain",
    "comma, and space ",
    'quo"te',
    "'",
    "new\nline",
    "carriage\rreturn",
    "both\r\n",
    "<b>&amp;</b>",
    "שלום",
    "\u202e\u2028\x85\x0b",
    "emoji 🙂",
    "=1+1",
    "NA",
    "nan",
    "None",
    "1e5",
    "007",
    " ",
    "#x",
    "\t",
    "\\N",
    '"',
]


def awkward_table():
    return pd.DataFrame(
        {
            "item": AWKWARD,
            "subject": AWKWARD[::-1],
            "role": "reference",
            "image": [f"{name}/x.png" for name in AWKWARD],
            "sha256": "0" * 64,
            "width": 3,
            "height": 4,
            "gender": AWKWARD,
            "the, group": "",
        }
    )


def test_round_trip(tmp_path):
    table = awkward_table()
    write_list(table, tmp_path / "deep" / "list.csv")
    back = read_list(tmp_path / "deep" / "list.csv")
    assert back.astype(object).equals(table.drop(columns=["width", "height"]).astype(object))
    assert not (back == "").to_numpy()[:, :5].any()


def test_the_text_is_plain():
    table = awkward_table().head(2)
    assert list_text(table).splitlines()[:2] == [
        'item,subject,role,image,sha256,width,height,gender,"the, group"',
        f'plain,"""",reference,plain/x.png,{"0" * 64},3,4,plain,',
    ]


def test_a_list_reproduces_the_folder(tmp_path):
    for name in ("a/1.png", "a/2.png", "b.png"):
        put(tmp_path / "root" / name)
    made = folder_list(tmp_path / "root").photos
    write_list(made, tmp_path / "list.csv")
    again = Folder(FolderOptions(root=tmp_path / "root", list=tmp_path / "list.csv")).photos()
    assert again.equals(made)


def test_hashes_are_optional_and_case_does_not_matter(tmp_path):
    sha = "ABCDEF" + "0" * 58
    text = f"\ufeffitem,subject,role,image,sha256\nx,y,reference,z.png,{sha}\n\n,y,target,w.png,\n"
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    assert read_list(tmp_path / "list.csv")["sha256"].tolist() == [sha.lower(), ""]
    (tmp_path / "list.csv").write_text("role,image,subject,item\nreference,z.png,y,x\n")
    assert read_list(tmp_path / "list.csv").to_dict("records") == [
        {"item": "x", "subject": "y", "role": "reference", "image": "z.png", "sha256": ""}
    ]


HEAD = "item,subject,role,image,sha256,width,height\n"
GOOD = "x,y,reference,z.png,,,\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: no column item, subject, role, image; needed: item, subject, role, image; found: nothing"),
        ("item;subject;role;image\n", "line 1: no column item, subject, role, image;"),
        ("item,subject,role\n", "line 1: no column image; needed: item, subject, role, image; found: item, subject, r"),
        (HEAD, "has no rows below its header"),
        ("item,subject,role,image,item\n" + GOOD, "line 1: every column needs a name of its own"),
        ("item,subject,role,image,\nx,y,reference,z,\n", "line 1: every column needs a name of its own"),
        ("item,subject,role,image,path\nx,y,reference,z,/etc\n", "line 1: path cannot be the name of a group"),
        (HEAD + GOOD + "x2,y,ref,z.png,,,\n", "line 3: role 'ref'; allowed: reference, target"),
        (HEAD + GOOD + "x2,y\n", "line 3: 2 fields, but the header has 7: item"),
        (HEAD + GOOD + "x2,y,reference,z.png,,,,\n", "line 3: 8 fields, but the header has 7"),
        (HEAD + '"new\nline",y,reference,z.png,,,\n' + GOOD + GOOD, "line 5: the item 'x' is already in line 4"),
        (HEAD + ",y,reference,z.png,,,\n", "line 2: a reference needs an item's name, a target has none; found ''"),
        (HEAD + "x,y,target,z.png,,,\n", "line 2: a reference needs an item's name, a target has none; found 'x'"),
        (HEAD + "x,,reference,z.png,,,\n", "line 2: subject is empty"),
        (HEAD + "x,y,reference,,,,\n", "line 2: image is empty"),
        (HEAD + "x,y,reference,z.png,12ab,,\n", "line 2: sha256 '12ab'; 64 hex digits, or nothing"),
        (HEAD + "x,y,reference,z.png,,wide,\n", "line 2: width 'wide'; a number of pixels, or nothing"),
        (HEAD + 'x,"y,reference,z.png,,,\n', "line 2: unexpected end of data"),
        (HEAD + f"x,{'y' * 200000},reference,z.png,,,\n", "line 2: field larger than field limit"),
    ],
)
def test_faults_name_the_line(tmp_path, text, message):
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_list(tmp_path / "list.csv")
    assert str(caught.value).startswith(str(tmp_path / "list.csv"))
    assert message in str(caught.value)


def test_a_file_that_is_no_list(tmp_path):
    (tmp_path / "list.csv").write_bytes(b"item\xff")
    with pytest.raises(UserError, match="is not UTF-8: invalid start byte at byte 4"):
        read_list(tmp_path / "list.csv")
    with pytest.raises(UserError, match=r"cannot read the list .*gone.csv: No such file"):
        read_list(tmp_path / "gone.csv")


def test_photos_are_checked_against_the_list(tmp_path):
    put(tmp_path / "root" / "a.png")
    put(tmp_path / "root" / "b.png")
    write_list(folder_list(tmp_path / "root").photos, tmp_path / "list.csv")
    put(tmp_path / "root" / "a.png", seed=7)
    (tmp_path / "root" / "b.png").unlink()
    table = Folder(FolderOptions(root=tmp_path / "root", list=tmp_path / "list.csv")).photos()
    assert table["status"].tolist() == ["refused", "missing"]
    assert table["reason"][0].startswith("sha256 differs from the list: the file has ")
