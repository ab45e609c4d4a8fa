"""What a run holds, and a run whose stage is to be made again."""

from hashlib import sha256


def files(folder):
    found = [path for path in folder.rglob("*") if path.suffix in (".png", ".parquet") and "timings" not in path.parts]
    return {path.relative_to(folder): sha256(path.read_bytes()).hexdigest() for path in found}


def again(folder, *stages):
    """Takes away the tables of a stage; returns what the folder held."""
    before = files(folder)
    for table in (folder / "tables").iterdir():
        if (table.name == "samples") == ("generate" in stages):
            for path in table.glob("*.parquet"):
                path.unlink()
    return before
