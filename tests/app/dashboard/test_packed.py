"""Documents that share their beginning."""

import gzip
import zlib
from itertools import product

import pytest

from app.dashboard.packed import PackedBeginning

_LONG = b"".join(b'{"address":"http://sfu%d:8070"},' % number for number in range(3000))


@pytest.mark.parametrize(("text", "rest"), list(product([b"", b"{", _LONG], [b"", b"}", _LONG])))
def test_each_reader_gets_the_whole_document(text: bytes, rest: bytes) -> None:
    shared = PackedBeginning(text)
    for _ in range(2):
        assert shared.followed_by(rest) == text + rest
        assert gzip.decompress(shared.packed_with(rest)) == text + rest
        assert gzip.decompress(shared.packed_with(b"another")) == text + b"another"


def test_a_reader_of_one_stream_gets_all() -> None:
    reader = zlib.decompressobj(wbits=31)
    assert reader.decompress(PackedBeginning(_LONG).packed_with(b"rest")) == _LONG + b"rest"
    assert reader.eof
    assert not reader.unused_data
