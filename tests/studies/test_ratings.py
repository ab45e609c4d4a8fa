"""Files of ratings, votes and values: ours, foreign ones by a map, and broken ones."""

import pytest

from bench.errors import UserError
from bench.studies.ratings import Maps, RatingMap, VoteMap, read_map, read_ratings, read_values, read_votes


@pytest.fixture
def file(tmp_path):
    def write(text, name="f.csv"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_neutral_ratings(file):
    path = file("image,source,score,method,dimension,se,n\na.png,s,1.5,m,identity,0.1,12\na.png,s,2,m,quality,0.1,12\n")
    found = read_ratings(path, RatingMap())
    assert found[["image", "method", "reference", "dimension", "score"]].to_numpy().tolist() == [
        ["a.png", "m", "", "identity", 1.5], ["a.png", "m", "", "quality", 2.0],
    ]  # fmt: skip
    assert read_ratings(file("image,source,score\na,s,1\n"), RatingMap())["dimension"].tolist() == ["score"]


def test_foreign_ratings_with_a_column_for_each_dimension(file):
    text = (
        "ratings:\n  columns: {image: Name, source: Person}\n  scores: {identity: ID, quality: MOS}\n  ignore: [Date]\n"
    )
    maps = read_map(file(text, "m.yaml"))
    found = read_ratings(file("Name,Person,ID,MOS,Date\na,s,1,2,x\n"), maps.ratings)
    assert found[["image", "source", "dimension", "score"]].to_numpy().tolist() == [
        ["a", "s", "identity", 1.0], ["a", "s", "quality", 2.0],
    ]  # fmt: skip


def test_votes_are_put_in_one_order(file):
    path = file("source,image_a,image_b,winner,rater\ns,x,y,a,1\ns,y,x,a,2\ns,y,x,tie,3\n")
    found = read_votes(path, VoteMap())
    assert set(zip(found["image_a"], found["image_b"], strict=True)) == {("x", "y")}
    assert found["value"].tolist() == [1.0, 0.0, 0.5]
    other = read_votes(file("source,image_a,image_b,winner,rater\ns,x,y,left,1\n"), VoteMap(winners={"left": "a"}))
    assert other["value"].tolist() == [1.0]


def test_values_may_be_missing(file):
    found = read_values(file("image,lpips,id\na,0.5,\nb,1,2\n"))
    assert found["lpips"].tolist() == [0.5, 1.0]
    assert found["id"].isna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,source,MOS\na,s,1\n", "line 1: no column score; found: image, source, MOS; map=FILE.yaml"),
        ("image,source,score,age\na,s,1,3\n", "line 1: unknown column age; found: image, source, score, age"),
        ("image,source,score\na,s,good\n", "line 2: score 'good' is not a number"),
        ("image,source,score\na,s,nan\n", "line 2: score 'nan' is not a number"),
        ("image,source,score\na,s,1\na,s,2\n", "line 3: 'a' has a score for 'score' already"),
        ("image,source,score\na,s\n", "line 2: 2 fields, but the header has 3"),
        ("image,source,score\n", "has no rows below its header"),
        ("", "found: nothing"),
    ],
)
def test_broken_ratings(file, text, message):
    with pytest.raises(UserError, match=r"^[^\n]*$") as error:
        read_ratings(file(text), RatingMap())
    assert message in str(error.value)


def test_broken_votes_and_values(file, tmp_path):
    with pytest.raises(UserError, match="winner 'x'; allowed: a, b, tie"):
        read_votes(file("source,image_a,image_b,winner,rater\ns,x,y,x,1\n"), VoteMap())
    with pytest.raises(UserError, match="'a' is there already"):
        read_values(file("image,m\na,1\na,2\n"))
    with pytest.raises(UserError, match="needed: image and a column"):
        read_values(file("name,m\na,1\n"))
    with pytest.raises(UserError, match="cannot read"):
        read_ratings(tmp_path / "none.csv", RatingMap())


@pytest.mark.parametrize(
    "text", ["ratings: {columns: {picture: x}}", "rating: {}", "- a", "a: [", "votes: {winners: {x: left}}"]
)
def test_broken_maps(file, text):
    with pytest.raises(UserError, match=r"^[^\n]*m\.yaml[^\n]*validate\.md[^\n]*$"):
        read_map(file(text, "m.yaml"))


def test_no_map_changes_nothing():
    assert read_map(None) == Maps()
