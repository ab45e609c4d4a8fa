"""Small crops whose pixels are known."""

import io

import numpy as np
from PIL import Image

from bench.facesets.store import Row, close, write_shard


def crop(identity, index, side=112, kind="PNG"):
    """An encoded crop that no other identity or index has."""
    pixels = np.full((side, side, 3), 40 + 5 * identity, np.uint8)
    pixels[: 10 + index, : 20 + index] = 200
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, kind)
    return sink.getvalue()


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def rows(identities, images):
    return [Row(i, k, seed=7, crop=crop(i, k)) for i in identities for k in range(images)]


def write(folder, shards=((0, 1), (2,)), images=3):
    """A whole face set of some identities in each shard, one image of which failed."""
    for shard, identities in enumerate(shards):
        failed = [Row(identities[0], images, status="no_face", reason="no face")]
        write_shard(folder, shard, rows(identities, images) + failed)
    close(folder, len(shards), {"name": "toy"})
    return folder
